"""The worker processes of the download: shards are handed out, progress comes back, nothing can hang.

This takes the place of img2dataset's distributor, whose process pool waits for ever when a worker dies
(the kernel's OOM killer suffices) and which a Ctrl-C ends in tracebacks. Workers are plain `python -m`
processes, so that a caller's script needs no `if __name__ == "__main__"`. The unit of work, a `ShardJob`,
can be handed to any other distributor (Ray, Spark) as it is.
"""

import contextlib
import logging
import multiprocessing
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from .errors import DownloadError
from .jobs import Broken, EngineSettings, Finished, Ready, ShardJob, Tally

__all__ = ["Crew"]

_log = logging.getLogger(__name__)

MOST_TRIES = 3  # times that a shard is begun before the stage gives up
_TICK = 0.25  # seconds
_STARTUP = 300.0  # seconds that a worker may take to load img2dataset on a slow disk


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: "Connection[Any, Any]"
    job: ShardJob | None = None
    tally: Tally | None = None
    moved: float = 0.0  # when it last got on with its job
    ready: bool = False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Crew:
    """Up to `processes` workers, started when there is work for them and kept for further rounds.

    `prepare` is called with a job before each time it is handed out. A shard on which nothing moves for
    `patience` seconds is taken from its worker and begun anew; the rows that were open then are not tried
    again: they are `stalled`.
    """

    def __init__(
        self, settings: EngineSettings, processes: int, prepare: Callable[[ShardJob], None], patience: float
    ) -> None:
        self._settings, self._processes, self._prepare, self._patience = (
            settings,
            processes,
            prepare,
            patience,
        )
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
        """Have all jobs done; `on_tally` hears how far each shard is. Raises DownloadError."""
        self._waiting, self._tries, self._on_tally = deque(jobs), dict[int, int](), on_tally
        while self._waiting or any(worker.job for worker in self._workers):
            self._hand_out()
            busy = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(busy), timeout=_TICK):
                self._hear(busy[connection])  # type: ignore[index]
            self._end_stalls()

    def _hand_out(self) -> None:
        while self._waiting:
            worker = next((worker for worker in self._workers if worker.job is None), None)
            if worker is None:
                if len(self._workers) >= self._processes:
                    return
                worker = self._start()
            job = self._waiting.popleft()
            self._prepare(job)
            worker.job, worker.tally, worker.moved = job, None, time.monotonic()
            with contextlib.suppress(OSError):  # a worker that is gone is noticed by its closed connection
                worker.connection.send(job)

    def _start(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe()
        # In a process group of its own, so that the terminal's Ctrl-C reaches only the command itself.
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-W", "ignore", "-m", "visunex.pipeline.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        with contextlib.suppress(OSError):
            ours.send(self._settings)
        return worker

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._dismiss(worker, "its worker process died", open_rows_are_to_blame=False)
            return
        match message:
            case Ready():
                worker.ready, worker.moved = True, time.monotonic()
            case Tally():
                self._note(worker, message)
            case Finished(tally):
                self._on_tally(tally)
                worker.job = None
            case Broken(reason=reason, fatal=str(sentence)):
                _log.debug("%s", reason)
                raise DownloadError(f"the shards cannot be made: {sentence}; what is done is kept")
            case Broken(reason=reason, lost_rows=rows) if worker.job is not None:
                job, worker.job = worker.job, None
                self._again(_without(job, rows, "internal: lost by img2dataset"), reason)

    def _note(self, worker: _Worker, tally: Tally) -> None:
        if worker.tally is None or tally != worker.tally:
            worker.moved = time.monotonic()
        worker.tally = tally
        self._on_tally(tally)

    def _end_stalls(self) -> None:
        for worker in list(self._workers):
            patience = self._patience if worker.ready else max(self._patience, _STARTUP)
            if worker.job is not None and time.monotonic() - worker.moved > patience:
                self._dismiss(worker, f"nothing moved for {patience:.0f} s", open_rows_are_to_blame=True)

    def _dismiss(self, worker: _Worker, reason: str, *, open_rows_are_to_blame: bool) -> None:
        """End a worker and queue its shard again; its open rows are given up when they are to blame."""
        self._workers.remove(worker)
        worker.kill()
        if worker.job is None:
            return
        to_blame = open_rows_are_to_blame or self._tries.get(worker.job.shard, 0) > 0
        rows = worker.tally.open_rows if worker.tally is not None and to_blame else ()
        self._again(_without(worker.job, rows, f"stalled: {reason}"), reason)

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
