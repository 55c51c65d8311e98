"""Pictures that are given more than once: how many, and the places without them."""

import hashlib
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from visunex.images.dhash import difference_hash
from visunex.images.errors import ImageError
from visunex.images.near import NearIndex

from .members import LeftOut
from .places import Source
from .samples import Sample, samples

__all__ = ["Dedupe", "Repeats", "RunningRepeats", "find_repeats"]

Dedupe = Literal["exact", "near", "none"]

_START = 4096  # bytes of a file by which it is compared before all of it is


@dataclass(frozen=True)
class Repeats:
    """The `places`, and how many of their images show the same as an earlier one: `left_out`, or not."""

    places: tuple[Source, ...]
    count: int
    left_out: bool


def find_repeats(places: Sequence[Source], dedupe: Dedupe) -> Repeats:
    """Count the images of all places whose file came before; with `near` also those that look alike.

    Unless `none`, the places are given without them.
    """
    found = {(each.where, each.offset): each for each in _repeats(places, near=dedupe == "near")}
    if dedupe == "none" or not found:
        return Repeats(tuple(places), len(found), False)
    without = frozenset(found)
    return Repeats(tuple(replace(place, without=without) for place in places), len(found), True)


class RunningRepeats:
    """The same of places that come one after another and may be gone then: each image is read once more.

    `count` are those so far that show the same as an earlier one.
    """

    def __init__(self, dedupe: Dedupe) -> None:
        self.count, self.left_out, self.dedupe = 0, dedupe != "none", dedupe
        self._seen = _Seen(near=dedupe == "near")

    def without(self, places: Sequence[Source]) -> Sequence[Source]:
        """The next places, without images that came before where these are to be left out."""
        found = frozenset((each.where, each.offset) for each in samples(places) if self._seen.has(each))
        self.count += len(found)
        return [replace(place, without=found) for place in places] if self.left_out else places


class _Seen:
    """Images that were seen, by their bytes and, where `near`, by what they show."""

    def __init__(self, *, near: bool) -> None:
        self._files, self._alike, self._near = set[bytes](), NearIndex(), near

    def has(self, sample: Sample) -> bool:
        """Whether an image was seen before; from now on it was. One that cannot be read never is."""
        try:
            data = sample.read()
            digest, look = hashlib.sha256(data).digest(), difference_hash(data) if self._near else None
        except ImageError:  # the encoder counts it
            return False
        before = digest in self._files or self._alike.has(look)
        self._files.add(digest)
        self._alike.add(look)
        return before


def _repeats(places: Sequence[Source], *, near: bool) -> Iterator[Sample]:
    marks = array("Q", (_mark(each) for each in samples(places, LeftOut())))
    often = {mark for mark, count in Counter(marks).items() if count > 1}
    seen = _Seen(near=near)
    for mark, sample in zip(marks, samples(places, LeftOut()), strict=False):
        if (mark in often or near) and seen.has(sample):
            yield sample


def _mark(sample: Sample) -> int:
    """A number that equal files share, made of the size and the first bytes."""
    try:
        start = sample.read()[:_START] if sample.column else _start_of(sample)
    except (ImageError, OSError):
        return 0
    return (zlib.crc32(start) << 32) | (sample.size & 0xFFFFFFFF)


def _start_of(sample: Sample) -> bytes:
    with sample.file.open("rb") as file:
        file.seek(sample.offset)
        return file.read(min(sample.size, _START))
