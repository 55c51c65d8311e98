"""Decoded images -> batches on the encoder's device, each assembled while the last is encoded."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from visunex.clip.preprocess import Seen

from ..shards.samples import Sample
from .decode_pool import Decoded

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "batches", "prefetch"]

T = TypeVar("T")

_PATIENCE = 2.0  # seconds that a thread with nobody to work for is waited for


@dataclass(frozen=True)
class Batch:
    """Images `staged` for the encoder, in the order of `samples`; None where none could be decoded.

    More may be staged than there are samples.
    """

    samples: list[Sample]
    failed: list[tuple[Sample, str]]
    staged: "torch.Tensor | None"

    def __len__(self) -> int:
        """The number of images, those that could not be decoded included."""
        return len(self.samples) + len(self.failed)


def batches(
    decoded: Iterable[Decoded],
    count: int,
    size: int,
    stage: "Callable[[list[Seen]], torch.Tensor]",
    least: int = 1,
) -> Iterator[Batch]:
    """Batches of `size` of `count` images, the next one staged while the encoder works on the last.

    What would be fewer than `least` at the end goes into the batch before. Where there are fewer all the
    same, the last image is staged again until there are as many: the rest of the vectors is nobody's.
    """
    return prefetch(_batches(iter(decoded), _sizes(count, size, least), stage, least))


def _sizes(count: int, size: int, least: int) -> list[int]:
    full, rest = divmod(count, size)
    return [size] * (full - 1) + [size + rest] if full and rest < least else [size] * full + [rest]


def _batches(
    decoded: Iterator[Decoded],
    sizes: Sequence[int],
    stage: "Callable[[list[Seen]], torch.Tensor]",
    least: int,
) -> Iterator[Batch]:
    for size in sizes:
        several = list(itertools.islice(decoded, size))
        if not several:
            return
        seen = [each.seen for each in several if each.seen is not None]
        seen += seen[-1:] * (least - len(seen))
        yield Batch(
            samples=[each.sample for each in several if each.seen is not None],
            failed=[(each.sample, each.reason) for each in several if each.seen is None],
            staged=stage(seen) if seen else None,
        )


@dataclass(frozen=True)
class _End:
    """The last item that a thread gives, with the error that stopped it, if one did."""

    error: BaseException | None


def prefetch(items: Iterator[T]) -> Iterator[T]:
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
