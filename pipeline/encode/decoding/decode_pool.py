"""Worker processes that decode files into pixels, some images before the encoder asks for them.

The processes (`decode_worker.py`) are commands of their own. So a program that encodes from Python needs no
`if __name__ == "__main__":`, and no process with torch's threads is forked, which can deadlock.
"""

import contextlib
import signal
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import connection
from typing import Any, BinaryIO, Self, TypeVar

from visunex.clip.preprocess import Pixels, Preprocessing, Seen, seen_by
from visunex.images.errors import ImageError

from ...errors import EncodeError
from ...shards.samples import Sample
from ...workers.spawn import module_command, start_connected
from .decode_worker import CHUNK, Wanted, WorkerSettings, read_image, shared_file, slots_in

__all__ = ["Decoded", "Decoders", "Ways", "decode_here"]

T = TypeVar("T")

_PROGRAM = module_command("visunex.pipeline.encode.decoding.decode_worker")
# A worker's answers are at most some 100 bytes for each task and way to decode. All that can be under way fit
# into the smallest buffer that a system gives a pipe (8 KB): a worker never waits for the parent while the
# parent waits for it.
_MOST_TASKS = 64


@dataclass(frozen=True)
class Decoded:
    """A sample and its pixels; or the kind of reason why there are none."""

    sample: Sample
    seen: Seen | None
    reason: str = ""


Ways = dict[int, Decoded]  # an image in each of the ways that were wanted, by their places


def decode_here(sample: Sample, preprocessing: Preprocessing) -> Decoded:
    """Decode a sample in this process."""
    return _decode_here(sample, [preprocessing], (0,))[0]


def _decode_here(sample: Sample, preprocessings: Sequence[Preprocessing], wanted: Wanted) -> Ways:
    try:
        found = seen_by(sample.read(), [preprocessings[way] for way in wanted])
    except ImageError as error:
        return {way: Decoded(sample, None, error.kind) for way in wanted}
    return {
        way: Decoded(sample, seen) if isinstance(seen, Seen) else Decoded(sample, None, seen.kind)
        for way, seen in zip(wanted, found, strict=True)
    }


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    pipe: "connection.Connection[Any, Any]"
    tasks: "deque[_Task]" = field(default_factory=deque)


@dataclass
class _Task:
    slot: int
    images: list[tuple[Sample, Wanted, Any]]
    failures: list[list[str]] | None = None  # for each sample and way, empty where there are pixels


class Decoders:
    """A pool of `workers` processes that keep `prefetch` images decoded; with none it decodes right here.

    Each image in those of the `preprocessings` that are wanted of it.

    So it does where there is too little memory that processes can share.

    `seconds` of a processor's time were spent on the `done` images so far; `grow` adds workers, up to `most`.
    A worker that dies (the system kills the largest process when memory runs out) ends the job with an
    EncodeError that names the image, not with a hang.
    """

    def __init__(
        self,
        preprocessings: Sequence[Preprocessing],
        workers: int,
        prefetch: int,
        most: int | None = None,
    ) -> None:
        self._count, self._most = workers, max(workers, most or 0)
        self._tasks = max(1, _MOST_TASKS // len(preprocessings))
        self._slots = min(self._most + -(-prefetch // CHUNK), self._most * self._tasks) if workers else 0
        self._settings = WorkerSettings(tuple(preprocessings), self._slots)
        self._file: BinaryIO | None = None
        self._memory: Pixels | None = None
        if self._slots:
            self._file, self._memory = self._shared()
        if self._file is None:
            self._count = self._most = 0
        self._workers: list[_Worker] = []
        self.seconds, self.done = 0.0, 0

    def __enter__(self) -> Self:
        self.grow(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.pipe.close()  # an idle worker ends by itself
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=1)
            worker.process.kill()
            worker.process.wait()
        self._workers = []
        if self._file is not None:
            self._file.close()

    def _shared(self) -> "tuple[BinaryIO, Pixels] | tuple[None, None]":
        """The memory that pixels come back through; None where the system has too little of it."""
        try:
            file = shared_file(self._settings.bytes_in_all)
        except OSError:  # too small a /dev/shm or TMPDIR: slower, but it gets done
            return None, None
        return file, slots_in(file.fileno(), self._settings)

    def decode(self, images: Iterable[tuple[Sample, Wanted, T]]) -> Iterator[tuple[Ways, T]]:
        """Every sample with its pixels or its reason, in the order given, and what came along with it.

        In each way that is wanted of it, by its place among the preprocessings.
        """
        if not self._count:
            hows = self._settings.preprocessings
            return ((_decode_here(sample, hows, wanted), other) for sample, wanted, other in images)
        return self._decode_there(iter(images))

    def grow(self, workers: int) -> None:
        """Have `workers` processes, if there are fewer and as far as there may be so many."""
        while len(self._workers) < min(workers, self._most):
            process, pipe = start_connected(_PROGRAM, shared=[self._descriptor()])
            worker = _Worker(process, pipe)
            self._workers.append(worker)
            with contextlib.suppress(OSError):  # one that has died is noticed when it is handed work
                pipe.send(self._settings)

    def _descriptor(self) -> int:
        assert self._file is not None  # noqa: S101 - for the type checker: there are workers
        return self._file.fileno()

    def _decode_there(self, images: Iterator[tuple[Sample, Wanted, T]]) -> Iterator[tuple[Ways, T]]:
        free = list(range(self._slots))
        waiting: deque[_Task] = deque()
        while True:
            while free and self._has_room() and (chunk := list(islice(images, CHUNK))):
                waiting.append(self._hand_out(free.pop(), chunk))
            if not waiting:
                return
            task = waiting.popleft()
            while task.failures is None:
                self._receive()
            yield from self._results(task)
            free.append(task.slot)

    def _has_room(self) -> bool:
        return any(len(worker.tasks) < self._tasks for worker in self._workers)

    def _hand_out(self, slot: int, images: list[tuple[Sample, Wanted, Any]]) -> _Task:
        task = _Task(slot, images)
        worker = min(self._workers, key=lambda worker: len(worker.tasks))
        worker.tasks.append(task)
        try:
            bare = [(replace(each, key="", caption=None, url=None), wanted) for each, wanted, _ in images]
            worker.pipe.send((slot, bare))
        except OSError:
            raise self._death(worker) from None
        return task

    def _receive(self) -> None:
        ready: Any = connection.wait([worker.pipe for worker in self._workers])
        for worker in self._workers:
            if worker.pipe in ready:
                try:
                    failures, seconds = worker.pipe.recv()
                except (EOFError, OSError):
                    raise self._death(worker) from None
                worker.tasks.popleft().failures = failures
                self.seconds, self.done = self.seconds + seconds, self.done + len(failures)

    def _results(self, task: _Task) -> Iterator[tuple[Ways, Any]]:
        assert task.failures is not None and self._memory is not None  # noqa: S101, PT018 - for the type checker
        memory = self._memory[task.slot]
        for (sample, wanted, other), failures, rooms in zip(task.images, task.failures, memory, strict=False):
            ways = zip(wanted, failures, strict=True)
            yield {way: self._decoded(sample, rooms, way, failure) for way, failure in ways}, other

    def _decoded(self, sample: Sample, rooms: Pixels, way: int, failure: str) -> Decoded:
        seen = None if failure else read_image(self._settings.room(rooms, way))
        return Decoded(sample, seen, failure)

    def _death(self, worker: _Worker) -> EncodeError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(timeout=5)
        code = worker.process.returncode
        if code is not None and code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
            cause += ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        else:
            cause = f"ended with status {code}"
        near = f" near {worker.tasks[0].images[0][0].where}" if worker.tasks else ""
        return EncodeError(
            f"a process that decodes pictures {cause}{near}; "
            "what is encoded is kept, go on with fewer --workers (0 decodes in this process)"
        )
