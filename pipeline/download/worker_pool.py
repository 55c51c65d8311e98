"""The worker processes of the download: shards are handed out, progress comes back, nothing can hang.

This takes the place of img2dataset's distributor, whose process pool waits for ever when a worker dies
(the kernel's OOM killer suffices) and which a Ctrl-C ends in tracebacks. Workers are plain `python -m`
processes, so that a caller's script needs no `if __name__ == "__main__"`. The unit of work, a `ShardJob`,
can be handed to any other distributor (Ray, Spark) as it is.
"""

import contextlib
import logging
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from threading import Event
from types import TracebackType
from typing import Any, Self

from ..errors import DownloadError
from ..workers.spawn import beside, program
from .messages import MOST_SHARDS_AT_ONCE, Broken, EngineSettings, Finished, Ready, ShardJob, Tally

__all__ = ["Crew"]

_log = logging.getLogger(__name__)

MOST_TRIES = 3  # times that a shard is begun before the stage gives up
_TICK = 0.25  # seconds
_STARTUP = 300.0  # seconds that a worker may take to load img2dataset on a slow disk


@dataclass
class _Task:
    """A shard in the hands of a worker, and when that last got on with it."""

    job: ShardJob
    moved: float
    tally: Tally | None = None

    @property
    def open_rows(self) -> tuple[int, ...]:
        return () if self.tally is None else self.tally.open_rows

    @property
    def waits_for_slow_links_only(self) -> bool:
        return self.tally is not None and self.tally.all_begun


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: "Connection[Any, Any]"
    tasks: dict[int, _Task] = field(default_factory=dict)  # by shard
    ready: bool = False
    alone: bool = False  # with a shard that was begun before, so that it is seen which one is at fault

    @property
    def takes_another(self) -> bool:
        if self.alone or len(self.tasks) >= MOST_SHARDS_AT_ONCE:
            return not self.tasks
        return all(task.waits_for_slow_links_only for task in self.tasks.values())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Crew:
    """Up to `processes` workers, started when there is work for them and kept for further rounds.

    A worker gets its next shard when of those it has only slow links are left. `prepare` is called with a job
    before each time it is handed out. A shard on which nothing moves for `patience` seconds is taken from its
    worker and begun anew; the rows that were open then are not tried again: they are `stalled`.
    """

    def __init__(
        self,
        settings: EngineSettings,
        processes: int,
        prepare: Callable[[ShardJob], None],
        patience: float,
        stopping: Event | None = None,
    ) -> None:
        self._settings, self._processes, self._prepare = settings, processes, prepare
        self._patience, self._stopping = patience, stopping or Event()
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers: at once when there was an error or Ctrl-C, as what is in flight is made again."""
        if kind is None:
            for worker in self._workers:
                with contextlib.suppress(OSError):
                    worker.connection.send(None)
            for worker in self._workers:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(timeout=5)
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def run(self, jobs: Iterable[ShardJob], on_tally: Callable[[Tally], None]) -> None:
        """Have all jobs done; `on_tally` hears how far each shard is. Raises DownloadError.

        Once `stopping` is set, it raises KeyboardInterrupt, as if Ctrl-C had reached this thread.
        """
        self._waiting, self._tries, self._on_tally = deque(jobs), dict[int, int](), on_tally
        while self._waiting or any(worker.tasks for worker in self._workers):
            self._hand_out()
            busy = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(busy), timeout=_TICK):
                self._hear(busy[connection])  # type: ignore[index]
            self._end_stalls()
            if self._stopping.is_set():
                raise KeyboardInterrupt

    def _hand_out(self) -> None:
        while self._waiting and (worker := self._taker(self._waiting[0])) is not None:
            job = self._waiting.popleft()
            self._prepare(job)
            worker.tasks[job.shard] = _Task(job, time.monotonic())
            worker.alone = job.shard in self._tries
            with contextlib.suppress(OSError):  # a worker that is gone is noticed by its closed connection
                worker.connection.send(job)

    def _taker(self, job: ShardJob) -> _Worker | None:
        """A worker for the next shard: an idle one, else a new one, else one that has the fewest."""
        takers = [worker for worker in self._workers if worker.takes_another]
        idle = next((worker for worker in takers if not worker.tasks), None)
        if idle is not None:
            return idle
        if len(self._workers) < self._processes:
            return self._start()
        if job.shard in self._tries:
            return None
        return min(takers, key=lambda worker: len(worker.tasks), default=None)

    def _start(self) -> _Worker:
        process, ours = beside(program("visunex.pipeline.download.worker"))
        worker = _Worker(process, ours)
        self._workers.append(worker)
        with contextlib.suppress(OSError):
            ours.send(self._settings)
        return worker

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._dismiss(worker, "its worker process died")
            return
        match message:
            case Ready():
                worker.ready = True
                for task in worker.tasks.values():
                    task.moved = time.monotonic()
            case Tally():
                self._note(worker, message)
            case Finished(tally):
                self._on_tally(tally)
                del worker.tasks[tally.shard]
            case Broken(reason=reason, fatal=str(sentence)):
                _log.debug("%s", reason)
                raise DownloadError(f"the shards cannot be made: {sentence}; what is done is kept")
            case Broken(shard, reason, rows):
                job = worker.tasks.pop(shard).job
                self._again(_without(job, rows, "internal: lost by img2dataset"), reason)

    def _note(self, worker: _Worker, tally: Tally) -> None:
        task = worker.tasks[tally.shard]
        if tally != task.tally:
            task.tally, task.moved = tally, time.monotonic()
        self._on_tally(tally)

    def _end_stalls(self) -> None:
        for worker in list(self._workers):
            patience = self._patience if worker.ready else max(self._patience, _STARTUP)
            late = time.monotonic() - patience
            stalled = {shard for shard, task in worker.tasks.items() if task.moved < late}
            if stalled:
                self._dismiss(worker, f"nothing moved for {patience:.0f} s", stalled)

    def _dismiss(self, worker: _Worker, reason: str, stalled: Collection[int] = ()) -> None:
        """End a worker and queue its shards again.

        Open rows are given up where they are to blame: in shards that `stalled`, and in one that was begun
        before, with which the worker was alone. A shard that another's stall has interrupted is no further
        try.
        """
        self._workers.remove(worker)
        worker.kill()
        for shard, task in worker.tasks.items():
            to_blame = shard in stalled or shard in self._tries
            rows = task.open_rows if to_blame else ()
            if stalled and shard not in stalled:
                self._waiting.append(task.job)
            else:
                self._again(_without(task.job, rows, f"stalled: {reason}"), reason)

    def _again(self, job: ShardJob, reason: str) -> None:
        _log.debug("shard %d is begun again: %s", job.shard, reason)
        tries = self._tries[job.shard] = self._tries.get(job.shard, 0) + 1
        if tries >= MOST_TRIES:
            raise DownloadError(
                f"shard {job.shard} could not be made in {tries} tries ({reason.strip().splitlines()[-1]}); "
                f"what is done is kept"
            )
        self._waiting.append(job)


def _without(job: ShardJob, rows: Iterable[int], verdict: str) -> ShardJob:
    return replace(job, verdicts={**job.verdicts, **dict.fromkeys(rows, verdict)})
