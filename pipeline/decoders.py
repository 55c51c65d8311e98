"""Worker processes that turn files into pixels ahead of the tower.

Pixels come back through shared memory; through the pipes go only file names and offsets. A worker knows
Pillow and numpy and not torch, so it starts in a fraction of a second and has no threads to fork.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import connection
from typing import Any, Self

import numpy as np

from .errors import EncodeError
from .preprocess import Pixels, Preprocessing, UndecodableError
from .shards import Sample

CHUNK = 4  # pictures handed to a worker at once
# A worker's answers are at most some 100 bytes for each task. All that can be under way fit into the smallest
# buffer
# that a system gives a pipe (8 KB), so a worker never waits for the parent while the parent waits for it.
_MOST_TASKS = 64


@dataclass(frozen=True)
class Decoded:
    """A sample and its pixels, uint8 [size, size, 3]; or the class of reason why there are none."""

    sample: Sample
    pixels: Pixels | None
    reason: str = ""


def decode_here(samples: Iterable[Sample], preprocessing: Preprocessing) -> Iterator[Decoded]:
    """Decode in this process, one after the other."""
    for sample in samples:
        try:
            yield Decoded(sample, preprocessing.pixels(sample.read()))
        except UndecodableError as error:
            yield Decoded(sample, None, error.kind)


@dataclass
class _Worker:
    process: Any
    pipe: connection.Connection
    tasks: "deque[_Task]" = field(default_factory=deque)


@dataclass
class _Task:
    slot: int
    samples: list[Sample]
    failures: list[str] | None = None  # for each sample, empty where there are pixels


class Decoders:
    """A pool of `workers` processes that keep `ahead` pictures decoded; with 0 workers it decodes right here.

    A worker that dies (the system kills the largest process when memory runs out) ends the job with an
    EncodeError that names the picture, not with a hang.
    """

    def __init__(self, preprocessing: Preprocessing, workers: int, ahead: int) -> None:
        self._preprocessing = preprocessing
        self._count = workers
        self._slots = min(workers + -(-ahead // CHUNK), workers * _MOST_TASKS)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        if self._count:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.pipe.close()  # an idle worker ends by itself
        for worker in self._workers:
            worker.process.join(timeout=1)
            worker.process.kill()
            worker.process.join()
        self._workers = []

    def decode(self, samples: Iterable[Sample]) -> Iterator[Decoded]:
        """Every sample with its pixels or its reason, in the order given."""
        if not self._count:
            return decode_here(samples, self._preprocessing)
        return self._decode_there(iter(samples))

    def _start(self) -> None:
        # spawn: a fork of a process with torch's threads can deadlock.
        context = multiprocessing.get_context("spawn")
        size = self._preprocessing.size
        shared = context.RawArray("B", self._slots * CHUNK * size * size * 3)
        self._memory = _slots_of(shared, size)
        for _ in range(self._count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, shared, self._preprocessing), daemon=True)
            process.start()
            theirs.close()  # so that the pipe ends when the worker does
            self._workers.append(_Worker(process, ours))

    def _decode_there(self, samples: Iterator[Sample]) -> Iterator[Decoded]:
        free = list(range(self._slots))
        waiting: deque[_Task] = deque()
        while True:
            while free and (chunk := list(islice(samples, CHUNK))):
                waiting.append(self._hand_out(free.pop(), chunk))
            if not waiting:
                return
            task = waiting.popleft()
            while task.failures is None:
                self._receive()
            yield from self._results(task)
            free.append(task.slot)

    def _hand_out(self, slot: int, samples: list[Sample]) -> _Task:
        task = _Task(slot, samples)
        worker = min(self._workers, key=lambda worker: len(worker.tasks))
        worker.tasks.append(task)
        try:
            worker.pipe.send((slot, [replace(each, key="", caption=None, url=None) for each in samples]))
        except OSError:
            raise self._death(worker) from None
        return task

    def _receive(self) -> None:
        ready: Any = connection.wait([worker.pipe for worker in self._workers])
        for worker in self._workers:
            if worker.pipe in ready:
                try:
                    failures = worker.pipe.recv()
                except (EOFError, OSError):
                    raise self._death(worker) from None
                worker.tasks.popleft().failures = failures

    def _results(self, task: _Task) -> Iterator[Decoded]:
        assert task.failures is not None  # noqa: S101 - for the type checker: `_decode_there` waited for it
        for index, (sample, failure) in enumerate(zip(task.samples, task.failures, strict=True)):
            pixels = None if failure else self._memory[task.slot, index].copy()
            yield Decoded(sample, pixels, failure)

    def _death(self, worker: _Worker) -> EncodeError:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        if code is not None and code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
            cause += ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        else:
            cause = f"ended with status {code}"
        near = f" near {worker.tasks[0].samples[0].where}" if worker.tasks else ""
        return EncodeError(
            f"a process that decodes pictures {cause}{near}; "
            "what is encoded is kept, go on with fewer --workers (0 decodes in this process)"
        )


def _slots_of(shared: Any, size: int) -> Pixels:
    return np.frombuffer(shared, dtype=np.uint8).reshape(-1, CHUNK, size, size, 3)


def _work(pipe: connection.Connection, shared: Any, preprocessing: Preprocessing) -> None:
    """A worker's life: tasks in, pixels into shared memory, reasons out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    memory = _slots_of(shared, preprocessing.size)
    try:
        while True:
            slot, samples = pipe.recv()
            pipe.send([_decode_into(memory[slot, i], each, preprocessing) for i, each in enumerate(samples)])
    except (EOFError, OSError):
        return  # the parent has no more use for this worker, or is gone


def _decode_into(target: Pixels, sample: Sample, preprocessing: Preprocessing) -> str:
    try:
        target[:] = preprocessing.pixels(sample.read())
    except UndecodableError as error:
        return error.kind
    return ""
