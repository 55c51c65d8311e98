"""Which of the downloaded images are the best N, and how many more candidates to try until there are N.

All of it depends on the candidates' order and on what could be downloaded, never on the order of answers.
"""

import math
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from visunex.images.near import NearIndex

__all__ = [
    "NOT_TRIED",
    "PRECOMPUTED",
    "STATUSES_OF_IMAGES",
    "Dedupe",
    "Result",
    "Search",
    "choose",
    "round_size",
]

# share of links in LAION's lists that still lead to an image, before there are own figures
FIRST_GUESS = 0.6
_LOWEST_RATE = 0.05  # a run of bad luck at the start must not order every candidate at once
_MANY_URLS = 3  # from so many addresses the same bytes are a "no longer available" image

PRECOMPUTED = "precomputed"  # the kind of rows whose vector is published: their image is not needed
NOT_TRIED = "not_tried"  # the status and kind of rows that were left when there were enough images
STATUSES_OF_IMAGES = ("chosen", "spare", "duplicate", "near_duplicate", "placeholder")


@dataclass(frozen=True)
class Result:
    """What became of one candidate: img2dataset's `status` and message, and the hashes of its image."""

    rank: int
    url: str
    status: str
    error_message: str | None
    sha256: str | None
    dhash: int | None

    @property
    def downloaded(self) -> bool:
        """Whether the image is in the shards."""
        return self.status == "success"

    @property
    def was_tried(self) -> bool:
        """Whether it is known what becomes of it."""
        return self.status != NOT_TRIED

    @property
    def may_count(self) -> bool:
        """Whether it is an image, or needs none."""
        return self.downloaded or self.error_kind == PRECOMPUTED

    @property
    def error_kind(self) -> str | None:
        """What the failure is counted under."""
        return None if self.error_message is None else self.error_message.partition(":")[0]


def round_size(target: int, good: int, tried: int, guess: float = FIRST_GUESS) -> int:
    """How many further candidates to try when `good` images of `target` came of `tried` ones.

    Before any was tried, the share of good ones is a `guess`.
    """
    rate = max(good / tried, _LOWEST_RATE) if tried else guess
    return max(1, math.ceil((target - good) / rate))


Dedupe = Literal["exact", "near", "none"]


def choose(
    results: Sequence[Result], target: int, dedupe: Dedupe = "exact", *, keep_placeholders: bool = False
) -> dict[int, str]:
    """What every downloaded image is, by rank: one of `STATUSES_OF_IMAGES`.

    `chosen` are the best `target` that count; `results` are in order of rank. A row whose vector is published
    counts without an image. What lies behind the last one that is needed changes nothing before it: how
    much of it was tried depends on the order of answers.
    """
    search = Search(target, dedupe, keep_placeholders=keep_placeholders, first=None)
    search.add(results)
    return _judged(results, len(search.needed), target, dedupe, keep_placeholders=keep_placeholders)


class Search:
    """Finds, as results come in any order, the rank behind which no candidate can be chosen.

    `needed` are the results in order of rank, from `first` on without a gap (None: gaps are no matter), up to
    that rank when it `is_over`.
    """

    def __init__(
        self, target: int, dedupe: Dedupe, *, keep_placeholders: bool, first: int | None = 0
    ) -> None:
        self._target, self._dedupe, self._keep = target, dedupe, keep_placeholders
        self._next, self._good, self._judge_at = first, 0, target
        self._waiting: dict[int, Result] = {}
        self.needed: list[Result] = []
        self.is_over = False

    def add(self, results: Iterable[Result]) -> None:
        """Take notice of results; without `first` they come in order of rank."""
        for result in results:
            if self._next is None:
                self._take(result)
            elif result.rank >= self._next:
                self._waiting[result.rank] = result
        while not self.is_over and self._next in self._waiting:
            self._take(self._waiting.pop(self._next))
            self._next += 1

    @property
    def open_before(self) -> int:
        """When there would be enough images: how many candidates are open that could outrank some."""
        behind = sorted(rank for rank, result in self._waiting.items() if result.may_count)
        missing = self._target - self._good
        if self.is_over or self._next is None or not 0 < missing <= len(behind):
            return 0
        last = behind[missing - 1]
        return last - self._next - sum(rank < last for rank in self._waiting)

    def _take(self, result: Result) -> None:
        if self.is_over:
            return
        self.needed.append(result)
        self._good += result.may_count
        if result.may_count and self._good >= self._judge_at:
            statuses = _judged(
                self.needed, len(self.needed), self._target, self._dedupe, keep_placeholders=self._keep
            )
            missing = self._target - sum(status == "chosen" for status in statuses.values())
            self.is_over, self._judge_at = missing <= 0, self._good + missing


def _judged(
    results: Sequence[Result], needed: int, target: int, dedupe: Dedupe, *, keep_placeholders: bool
) -> dict[int, str]:
    """What every image is, placeholders being judged by the first `needed` results."""
    placeholders = set() if keep_placeholders else _placeholders(results[:needed])
    better, statuses, chosen = _BetterImages(dedupe), dict[int, str](), 0
    for result in results:
        if not result.may_count:
            continue
        status = None if result.error_kind == PRECOMPUTED else _not_counting(result, placeholders, better)
        if status is None:
            status = "chosen" if chosen < target else "spare"
            chosen += 1
        statuses[result.rank] = status
    return statuses


def _not_counting(result: Result, placeholders: Container[str | None], better: "_BetterImages") -> str | None:
    """Why an image does not count; None when it does."""
    return "placeholder" if result.sha256 in placeholders else better.repeated_by(result)


def _placeholders(results: Iterable[Result]) -> set[str | None]:
    urls = defaultdict[str | None, set[str]](set)
    for result in results:
        if result.downloaded and len(urls[result.sha256]) < _MANY_URLS:
            urls[result.sha256].add(result.url)
    return {sha256 for sha256, found in urls.items() if len(found) >= _MANY_URLS}


class _BetterImages:
    """The images of better rank, to tell whether one shows the same as one of them."""

    def __init__(self, dedupe: Dedupe) -> None:
        self._dedupe, self._files, self._hashes = dedupe, set[str | None](), NearIndex()

    def repeated_by(self, result: Result) -> str | None:
        """`duplicate`, `near_duplicate`, or None: then the image becomes one of them."""
        if self._dedupe == "none":
            return None
        if result.sha256 in self._files:
            return "duplicate"
        if self._dedupe == "near" and self._hashes.has(result.dhash):
            return "near_duplicate"
        self._files.add(result.sha256)
        self._hashes.add(result.dhash)
        return None
