"""Decoded pictures -> batches on the tower's device, assembled ahead; the cores divided by what both take."""

import itertools
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from visunex.clip.preprocess import Seen

from ..shards.samples import Sample
from .decode_pool import Decoded, Decoders

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_MARGIN = 1.25  # decoders beyond what a GPU needs on the average
_PATIENCE = 2.0  # seconds that a thread with nobody to work for is waited for


@dataclass(frozen=True)
class Batch:
    """Pictures `staged` for the tower, in the order of `samples`; None where none could be decoded."""

    samples: list[Sample]
    failed: list[tuple[Sample, str]]
    staged: "torch.Tensor | None"

    def __len__(self) -> int:
        """Those that could not be decoded included."""
        return len(self.samples) + len(self.failed)


def batches(
    decoded: Iterable[Decoded], size: int, stage: "Callable[[list[Seen]], torch.Tensor]"
) -> Iterator[Batch]:
    """Batches of `size` pictures, the next one staged while the tower works on the last."""
    return ahead(_batches(iter(decoded), size, stage))


def _batches(
    decoded: Iterator[Decoded], size: int, stage: "Callable[[list[Seen]], torch.Tensor]"
) -> Iterator[Batch]:
    while several := list(itertools.islice(decoded, size)):
        seen = [each.seen for each in several if each.seen is not None]
        yield Batch(
            samples=[each.sample for each in several if each.seen is not None],
            failed=[(each.sample, each.reason) for each in several if each.seen is None],
            staged=stage(seen) if seen else None,
        )


@dataclass(frozen=True)
class _End:
    """The last thing out of a thread, and what stopped it."""

    error: BaseException | None


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one being made in a thread of its own while the last is used."""
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def put(item: "T | _End") -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
        except BaseException as error:  # whatever it is, it is for the one who asked for the items
            put(_End(error))
        else:
            put(_End(None))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join(_PATIENCE)


def cores() -> int:
    """The processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Division:
    """How many processes decode, and how many threads the tower has."""

    decoders: int
    threads: int


def divide(cores: int, threads: int, decode: float, tower: float, *, on_cpu: bool) -> Division:
    """The division for pictures that take `decode` seconds of a core, and `tower` seconds with `threads`.

    Where decoding takes a core or more of a CPU's, it gets them for itself. Where less, it runs between the
    steps of the tower, which then has them all, in processes enough to burden the cores alike.
    """
    if not on_cpu:
        return Division(max(1, min(cores - 1, math.ceil(_MARGIN * decode / tower))), threads)
    share = cores * decode / (decode + tower * threads)
    if share < 1:
        return Division(min(cores, math.ceil(4 * share)), threads)
    own = min(round(share), cores - 1)
    return Division(own, min(threads, cores - own))


class Divider:
    """Divides the cores between the tower and `decoders` by what the second batch takes of both.

    Of the cores, `own_cores` are this process's: all, if None. The first batch warms both up. The tower's
    threads are the process's, and are put back at the end.
    """

    def __init__(self, decoders: Decoders, device: str, own_cores: int | None = None) -> None:
        self._decoders, self._on_cpu = decoders, device == "cpu"
        self._cores = own_cores or cores()
        self._batches, self._threads = 0, 0

    def timed(self, pictures: int, work: Callable[[], T]) -> T:
        """Have the tower do its work on a batch, and take the time."""
        began = time.perf_counter()
        result = work()
        self._batches += 1
        if self._batches == 2 and self._decoders.done:
            self._divide((time.perf_counter() - began) / pictures)
        return result

    def put_back(self) -> None:
        """Leave the process with the threads that it had."""
        import torch

        if self._threads:
            torch.set_num_threads(self._threads)

    def _divide(self, tower: float) -> None:
        import torch

        self._threads = torch.get_num_threads()
        decode = self._decoders.seconds / self._decoders.done
        division = divide(self._cores, self._threads, decode, tower, on_cpu=self._on_cpu)
        self._decoders.grow(division.decoders)
        if division.threads != self._threads:
            torch.set_num_threads(division.threads)
