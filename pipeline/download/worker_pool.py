"""The worker processes of the download: shards are handed out, progress comes back, nothing can hang.

This takes the place of img2dataset's distributor, whose process pool waits for ever when a worker dies
(the kernel's OOM killer suffices) and which a Ctrl-C ends in tracebacks. Workers are plain `python -m`
processes, so that a caller's script needs no `if __name__ == "__main__"`. The unit of work, a `ShardJob`,
can be handed to any other distributor (Ray, Spark) as it is.
"""

import contextlib
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from threading import Event
from types import TracebackType
from typing import Self

from ..errors import DownloadError
from ..shards.naming import shard_name
from ..workers.executor import LOCAL, Executor, Worker
from .messages import (
    MOST_SHARDS_AT_ONCE,
    Broken,
    Enough,
    Finished,
    MakerSettings,
    Ready,
    ShardJob,
    ShardProgress,
)

__all__ = ["OnProgress", "WorkerPool"]

_log = logging.getLogger(__name__)

OnProgress = Callable[[ShardProgress], None]

MOST_ATTEMPTS = 3  # times that a shard is begun before the stage gives up
MOST_BEGUN = 12  # times also where its nodes were lost
_TICK = 0.25  # seconds
_STARTUP = 300.0  # seconds that a worker may take to load img2dataset on a slow disk


@dataclass
class _Task:
    """A shard in the hands of a worker, and when that last got on with it."""

    job: ShardJob
    moved: float
    progress: ShardProgress | None = None

    @property
    def open_rows(self) -> tuple[int, ...]:
        return () if self.progress is None else self.progress.open_rows

    @property
    def waits_for_slow_links_only(self) -> bool:
        return self.progress is not None and self.progress.all_begun


@dataclass
class _Worker:
    """A worker process and the shards that it has in work."""

    process: Worker
    tasks: dict[int, _Task] = field(default_factory=dict)  # by shard
    ready: bool = False
    where: str = ""  # the machine that it is on, once it is ready; empty for this one
    alone: bool = False  # with a shard that was begun before, so that it is seen which one is at fault

    @property
    def takes_another(self) -> bool:
        if not self.ready and self.process.may_not_start:
            return False
        if self.alone or len(self.tasks) >= MOST_SHARDS_AT_ONCE:
            return not self.tasks
        return all(task.waits_for_slow_links_only for task in self.tasks.values())

    def give(self, job: ShardJob, *, alone: bool) -> None:
        self.tasks[job.shard] = _Task(job, time.monotonic())
        self.alone = alone
        with contextlib.suppress(OSError):  # a worker that is gone is noticed by its closed connection
            self.process.send(job)

    def became_ready(self) -> None:
        self.ready, self.where = True, self.process.where
        for task in self.tasks.values():
            task.moved = time.monotonic()

    def got_on(self, progress: ShardProgress) -> None:
        task = self.tasks[progress.shard]
        if progress != task.progress:
            task.progress, task.moved = progress, time.monotonic()

    def leave_from(self, shard: int, row: int) -> None:
        """Of a shard that it has, let rows from this on go; of those behind it all."""
        for each in [each for each in self.tasks if each >= shard]:
            with contextlib.suppress(OSError):
                self.process.send(Enough(each, row if each == shard else 0))
            if each > shard:
                del self.tasks[each]

    def kill(self) -> None:
        self.process.kill()
        self.process.close()


class _Batch:
    """The jobs of one call: those that wait for a worker, and how often each shard failed."""

    def __init__(self, jobs: Iterable[ShardJob], on_progress: OnProgress) -> None:
        self.waiting, self.on_progress = deque(jobs), on_progress
        self.gave_up = False  # as nothing answers any more
        self._failures, self._begun = Counter[int](), Counter[int]()

    def has_failed(self, shard: int) -> bool:
        """Whether a shard was begun before, in vain."""
        return self._failures[shard] > 0

    def hear(self, progress: ShardProgress) -> None:
        """Pass on how far a shard is. Once a worker gives up, no further shard is begun."""
        self.on_progress(progress)
        if progress.gave_up:
            self.gave_up = True
            self.waiting.clear()

    def keep_until(self, shard: int) -> None:
        """Forget the jobs of shards behind this one."""
        self.waiting = deque(job for job in self.waiting if job.shard <= shard)

    def try_again(self, job: ShardJob, reason: str, *, is_at_fault: bool = True) -> None:
        """Queue a shard that is not finished. Raises DownloadError where it was begun too often."""
        _log.debug("shard %d is begun again: %s", job.shard, reason)
        self._begun[job.shard] += 1
        self._failures[job.shard] += is_at_fault
        attempts, begun = self._failures[job.shard], self._begun[job.shard]
        # Who made it before may not know yet that it is given up: its node may only be cut off.
        job = replace(job, folder=job.folder.with_name(f"{shard_name(job.shard)}-{begun}"))
        if attempts >= MOST_ATTEMPTS or begun >= MOST_BEGUN:
            raise DownloadError(
                f"shard {job.shard} could not be made in {begun} tries "
                f"({reason.strip().splitlines()[-1]}); what is done is kept"
            )
        self.waiting.append(job)


class WorkerPool:
    """Up to `processes` workers, started when there is work for them and kept for further rounds.

    A worker gets its next shard when of those it has only slow links are left. `prepare` is called with a job
    before each time it is handed out. A shard on which nothing moves for `patience` seconds is taken from its
    worker and begun anew; the rows that were open then are not tried again: they are `stalled`.
    """

    def __init__(
        self,
        settings: MakerSettings,
        processes: int,
        prepare: Callable[[ShardJob], None],
        patience: float,
        stopping: Event | None = None,
        executor: Executor = LOCAL,
    ) -> None:
        self._executor = executor
        self._settings, self._processes, self._prepare = settings, processes, prepare
        self._patience, self._stopping = patience, stopping or Event()
        self._workers: list[_Worker] = []
        self._enough: Enough | None = None
        self._waiting_since = time.monotonic()
        self.done: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by machine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers: at once when there was an error or Ctrl-C, as what is in flight is made again."""
        if kind is None:
            for worker in self._workers:
                with contextlib.suppress(OSError):
                    worker.process.send(None)
            for worker in self._workers:
                worker.process.wait(5)
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def run(self, jobs: Iterable[ShardJob], on_progress: OnProgress) -> None:
        """Have all jobs done; `on_progress` is called with how far each shard is. Raises DownloadError.

        Once `stopping` is set, it raises KeyboardInterrupt, as if Ctrl-C had reached this thread.
        """
        batch, self._enough = _Batch(jobs, on_progress), None
        while batch.waiting or any(worker.tasks for worker in self._workers):
            self._hand_out(batch)
            by_process = {id(worker.process): worker for worker in self._workers}
            for process in self._executor.ready([each.process for each in self._workers], _TICK):
                self._receive(by_process[id(process)], batch)
            self._replace_stalled(batch)
            self._require_room()
            if self._enough is not None:
                self._abandon(batch, self._enough)
            if self._stopping.is_set():
                raise KeyboardInterrupt
        if batch.gave_up:
            raise DownloadError(
                f"nothing has answered for {self._settings.patience:.0f} s (--patience): is the network gone?"
                " What is done is kept, and the same command goes on from there"
            )

    def leave_from(self, shard: int, row: int) -> None:
        """Nothing from this row of this shard on is wanted any more: `run` abandons what is in flight."""
        self._enough = Enough(shard, row)

    def _abandon(self, batch: _Batch, enough: Enough) -> None:
        """Have the shard with the last row that is wanted finished, and no further one."""
        batch.keep_until(enough.shard)
        for worker in list(self._workers):
            if worker.tasks and min(worker.tasks) > enough.shard:
                self._workers.remove(worker)
                worker.kill()
            else:
                worker.leave_from(enough.shard, enough.row)
        self._enough = None

    def _hand_out(self, batch: _Batch) -> None:
        while batch.waiting:
            has_failed = batch.has_failed(batch.waiting[0].shard)
            worker = self._free_worker(idle=has_failed)
            if worker is None:
                return
            job = batch.waiting.popleft()
            self._prepare(job)
            worker.give(job, alone=has_failed)

    def _free_worker(self, *, idle: bool) -> _Worker | None:
        """A worker for the next shard: an idle one, a new one or, unless `idle`, one with few shards."""
        free = [worker for worker in self._workers if worker.takes_another]
        found = next((worker for worker in free if not worker.tasks), None)
        if found is not None:
            return found
        if len(self._workers) < self._processes:
            started = self._start_worker()
            return started if started.takes_another else None
        return None if idle else min(free, key=lambda worker: len(worker.tasks), default=None)

    def _start_worker(self) -> _Worker:
        worker = _Worker(self._executor.start("visunex.pipeline.download.worker"))
        self._workers.append(worker)
        with contextlib.suppress(OSError):
            worker.process.send(self._settings)
        return worker

    def _receive(self, worker: _Worker, batch: _Batch) -> None:
        """Act on a worker's next message, or on its end."""
        try:
            message = worker.process.receive()
        except (EOFError, OSError):
            self._remove(worker, batch, "its worker process died")
            return
        if getattr(message, "shard", -1) >= 0 and message.shard not in worker.tasks:
            return  # it was abandoned
        match message:
            case Ready():
                worker.became_ready()
            case ShardProgress():
                worker.got_on(message)
                batch.hear(message)
            case Finished(progress) if progress.shard in worker.tasks:
                batch.hear(progress)
                del worker.tasks[progress.shard]
                self.done[worker.where]["shards"] += 1
                self.done[worker.where]["pictures"] += progress.succeeded
            case Broken(reason=reason, fatal=str(sentence)):
                _log.debug("%s", reason)
                raise DownloadError(f"the shards cannot be made: {sentence}; what is done is kept")
            case Broken(shard, reason, rows):
                job = worker.tasks.pop(shard).job
                batch.try_again(_without(job, rows, "internal: lost by img2dataset"), reason)

    def _require_room(self) -> None:
        """Raise DownloadError where for long none of the workers could be started."""
        if not self._workers or any(worker.ready or worker.tasks for worker in self._workers):
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > _STARTUP:
            raise DownloadError(
                f"no node of the cluster has had room for a worker (engine.worker_cpus) for {_STARTUP:.0f} s."
                " What is done is kept, and the same command goes on from there"
            )

    def _replace_stalled(self, batch: _Batch) -> None:
        for worker in list(self._workers):
            patience = self._patience if worker.ready else max(self._patience, _STARTUP)
            late = time.monotonic() - patience
            stalled = {shard for shard, task in worker.tasks.items() if task.moved < late}
            if stalled:
                self._remove(worker, batch, f"nothing moved for {patience:.0f} s", stalled)

    def _remove(self, worker: _Worker, batch: _Batch, reason: str, stalled: Collection[int] = ()) -> None:
        """End a worker and queue its shards again.

        Open rows are given up where they are to blame: in shards that `stalled`, and in one that was begun
        before, with which the worker was alone. A shard that another's stall, or the loss of a node, has
        interrupted has not failed.
        """
        is_lost = not stalled and worker.process.node_is_lost
        self._workers.remove(worker)
        worker.kill()
        self.done[worker.where]["lost"] += 1
        for shard, task in worker.tasks.items():
            to_blame = shard in stalled or batch.has_failed(shard)
            if stalled and shard not in stalled:
                batch.waiting.append(task.job)
            elif is_lost:
                batch.try_again(task.job, "its node was lost", is_at_fault=False)
            else:
                rows = task.open_rows if to_blame else ()
                batch.try_again(_without(task.job, rows, f"stalled: {reason}"), reason)


def _without(job: ShardJob, rows: Iterable[int], message: str) -> ShardJob:
    """The job with rows that are no longer fetched; `message` is what they end as."""
    return replace(job, not_fetched={**job.not_fetched, **dict.fromkeys(rows, message)})
