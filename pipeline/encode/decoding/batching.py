"""Decoded images -> batches on the encoders' device, each assembled while the last is encoded."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from visunex.clip.preprocess import Seen

from ...shards.samples import Sample
from .decode_pool import Ways

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "Round", "Taker", "prefetch", "rounds"]

T = TypeVar("T")
_Staged: TypeAlias = "dict[tuple[int, tuple[int, ...]], torch.Tensor]"  # by the way, and the images

_PATIENCE = 2.0  # seconds that a thread with nobody to work for is waited for


@dataclass(frozen=True)
class Taker:
    """An encoder as one that takes images: which of them, decoded in which of the ways, staged by what."""

    takes: Callable[[Sample], bool]
    way: int
    stage: "Callable[[list[Seen]], torch.Tensor]"


@dataclass(frozen=True)
class Batch:
    """Images `staged` for an encoder, in the order of `samples`; None where none could be decoded.

    More may be staged than there are samples.
    """

    samples: list[Sample]
    failed: list[tuple[Sample, str]]
    staged: "torch.Tensor | None"

    def __len__(self) -> int:
        """The number of images, those that could not be decoded included."""
        return len(self.samples) + len(self.failed)


@dataclass(frozen=True)
class Round:
    """So many `images` decoded at once, and the batch that each encoder takes of them."""

    images: int
    batches: tuple[Batch, ...]


def rounds(
    decoded: Iterable[Ways], count: int, size: int, takers: Sequence[Taker], least: int = 1
) -> Iterator[Round]:
    """Rounds of `size` of `count` images, the next one staged while the encoders work on the last.

    What would be fewer than `least` at the end goes into the round before. Where an encoder takes fewer all
    the same, its last image is staged again until there are as many: the rest of the vectors is nobody's.
    Encoders that take the same images alike have one staged batch in common.
    """
    return prefetch(_rounds(iter(decoded), _sizes(count, size, least), takers, least))


def _sizes(count: int, size: int, least: int) -> list[int]:
    full, rest = divmod(count, size)
    return [size] * (full - 1) + [size + rest] if full and rest < least else [size] * full + [rest]


def _rounds(
    decoded: Iterator[Ways], sizes: Sequence[int], takers: Sequence[Taker], least: int
) -> Iterator[Round]:
    for size in sizes:
        images = list(itertools.islice(decoded, size))
        if not images:
            return
        staged: _Staged = {}
        yield Round(len(images), tuple(_batch(images, taker, least, staged) for taker in takers))


def _batch(images: Sequence[Ways], taker: Taker, least: int, staged: "_Staged") -> Batch:
    ways = (each.get(taker.way) for each in images)
    own = [each for each in ways if each is not None and taker.takes(each.sample)]
    seen = [each.seen for each in own if each.seen is not None]
    seen += seen[-1:] * (least - len(seen))
    same = taker.way, tuple(map(id, seen))
    if seen and same not in staged:
        staged[same] = taker.stage(seen)
    return Batch(
        samples=[each.sample for each in own if each.seen is not None],
        failed=[(each.sample, each.reason) for each in own if each.seen is None],
        staged=staged.get(same),
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
