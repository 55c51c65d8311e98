"""Worker processes that decode files into pixels, some images before the encoder asks for them.

Pixels come back through shared memory; through the pipes go only file names and offsets. A worker knows
Pillow and numpy and not torch, so it starts in a fraction of a second and has no threads to fork.
"""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import connection
from typing import Any, Self, TypeVar

import numpy as np

from visunex.base.memory import keep_memory
from visunex.clip.preprocess import Pixels, Preprocessing, Seen
from visunex.images.errors import ImageError

from ..errors import EncodeError
from ..shards.samples import Sample

__all__ = ["Decoded", "Decoders", "decode_here"]

T = TypeVar("T")

CHUNK = 4  # images handed to a worker at once
# A worker's answers are at most some 100 bytes for each task. All that can be under way fit into the smallest
# buffer that a system gives a pipe (8 KB): a worker never waits for the parent while the parent waits for it.
_MOST_TASKS = 64
_HEADER = 16  # bytes before an image's pixels: four int32
# The encoder's threads wait for the slowest of them, so on the cores they share decoding comes second; it
# gets on all the same while another program keeps the cores busy.
_NICENESS = 5
# spawn: a fork of a process with torch's threads can deadlock.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Decoded:
    """A sample and its pixels; or the kind of reason why there are none."""

    sample: Sample
    seen: Seen | None
    reason: str = ""


def decode_here(sample: Sample, preprocessing: Preprocessing) -> Decoded:
    """Decode a sample in this process."""
    try:
        return Decoded(sample, preprocessing.seen(sample.read()))
    except ImageError as error:
        return Decoded(sample, None, error.kind)


@dataclass
class _Worker:
    process: Any
    pipe: connection.Connection
    tasks: "deque[_Task]" = field(default_factory=deque)


@dataclass
class _Task:
    slot: int
    pairs: list[tuple[Sample, Any]]
    failures: list[str] | None = None  # for each sample, empty where there are pixels


class Decoders:
    """A pool of `workers` processes that keep `prefetch` images decoded; with none it decodes right here.

    `seconds` of a processor's time were spent on the `done` images so far; `grow` adds workers, up to `most`.
    A worker that dies (the system kills the largest process when memory runs out) ends the job with an
    EncodeError that names the image, not with a hang.
    """

    def __init__(
        self, preprocessing: Preprocessing, workers: int, prefetch: int, most: int | None = None
    ) -> None:
        self._preprocessing = preprocessing
        self._count, self._most = workers, max(workers, most or 0)
        self._slots = min(self._most + -(-prefetch // CHUNK), self._most * _MOST_TASKS) if workers else 0
        room = _HEADER + preprocessing.most_bytes
        self._shared = _CONTEXT.RawArray("B", self._slots * CHUNK * room)
        self._memory = _slots_of(self._shared, room)
        self._workers: list[_Worker] = []
        self.seconds, self.done = 0.0, 0

    def __enter__(self) -> Self:
        self.grow(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.pipe.close()  # an idle worker ends by itself
        for worker in self._workers:
            worker.process.join(timeout=1)
            worker.process.kill()
            worker.process.join()
        self._workers = []

    def decode(self, pairs: Iterable[tuple[Sample, T]]) -> Iterator[tuple[Decoded, T]]:
        """Every sample with its pixels or its reason, in the order given, and what came along with it."""
        if not self._count:
            return ((decode_here(sample, self._preprocessing), other) for sample, other in pairs)
        return self._decode_there(iter(pairs))

    def grow(self, workers: int) -> None:
        """Have `workers` processes, if there are fewer and as far as there may be so many."""
        while len(self._workers) < min(workers, self._most):
            ours, theirs = _CONTEXT.Pipe()
            arguments = (theirs, self._shared, self._preprocessing)
            process = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()  # so that the pipe ends when the worker does
            self._workers.append(_Worker(process, ours))

    def _decode_there(self, pairs: Iterator[tuple[Sample, T]]) -> Iterator[tuple[Decoded, T]]:
        free = list(range(self._slots))
        waiting: deque[_Task] = deque()
        while True:
            while free and self._has_room() and (chunk := list(islice(pairs, CHUNK))):
                waiting.append(self._hand_out(free.pop(), chunk))
            if not waiting:
                return
            task = waiting.popleft()
            while task.failures is None:
                self._receive()
            yield from self._results(task)
            free.append(task.slot)

    def _has_room(self) -> bool:
        return any(len(worker.tasks) < _MOST_TASKS for worker in self._workers)

    def _hand_out(self, slot: int, pairs: list[tuple[Sample, Any]]) -> _Task:
        task = _Task(slot, pairs)
        worker = min(self._workers, key=lambda worker: len(worker.tasks))
        worker.tasks.append(task)
        try:
            worker.pipe.send((slot, [replace(each, key="", caption=None, url=None) for each, _ in pairs]))
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

    def _results(self, task: _Task) -> Iterator[tuple[Decoded, Any]]:
        assert task.failures is not None  # noqa: S101 - for the type checker: `_decode_there` waited for it
        for index, ((sample, other), failure) in enumerate(zip(task.pairs, task.failures, strict=True)):
            seen = None if failure else _take(self._memory[task.slot, index])
            yield Decoded(sample, seen, failure), other

    def _death(self, worker: _Worker) -> EncodeError:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        if code is not None and code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
            cause += ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        else:
            cause = f"ended with status {code}"
        near = f" near {worker.tasks[0].pairs[0][0].where}" if worker.tasks else ""
        return EncodeError(
            f"a process that decodes pictures {cause}{near}; "
            "what is encoded is kept, go on with fewer --workers (0 decodes in this process)"
        )


def _slots_of(shared: Any, room: int) -> Pixels:
    return np.frombuffer(shared, dtype=np.uint8).reshape(-1, CHUNK, room)


def _put(slot: Pixels, seen: Seen) -> None:
    """Height and width of the pixels, the width and height they are to have, then the pixels."""
    high, wide, _ = seen.pixels.shape
    slot[:_HEADER].view(np.int32)[:] = high, wide, *seen.resized
    slot[_HEADER : _HEADER + seen.pixels.size].reshape(seen.pixels.shape)[:] = seen.pixels


def _take(slot: Pixels) -> Seen:
    high, wide, *resized = slot[:_HEADER].view(np.int32).tolist()
    pixels = slot[_HEADER : _HEADER + high * wide * 3].reshape(high, wide, 3)
    return Seen(pixels.copy(), (resized[0], resized[1]))


def _work(pipe: connection.Connection, shared: Any, preprocessing: Preprocessing) -> None:
    """A worker's life: tasks in, pixels into shared memory, reasons out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    keep_memory()
    memory = _slots_of(shared, _HEADER + preprocessing.most_bytes)
    try:
        while True:
            slot, samples = pipe.recv()
            began = time.process_time()
            failures = [_decode_into(memory[slot, i], each, preprocessing) for i, each in enumerate(samples)]
            pipe.send((failures, time.process_time() - began))
    except (EOFError, OSError):
        return  # the parent has no more use for this worker, or is gone


def _decode_into(slot: Pixels, sample: Sample, preprocessing: Preprocessing) -> str:
    try:
        _put(slot, preprocessing.seen(sample.read()))
    except ImageError as error:
        return error.kind
    return ""
