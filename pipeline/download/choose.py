"""Until N succeed: how many more candidates to try, and which of the pictures that were had are the best N.

Everything here depends on the candidates' order and on what could be had, never on the order of answers.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..shards.discard import is_discarded
from ..shards.naming import ROWS, STATS, TAR, shard_name

__all__ = ["CLASSES_OF_SUCCESS", "PRECOMPUTED", "Result", "choose", "is_made", "read_shard", "round_size"]

_FIRST_GUESS = (
    0.6  # share of links in LAION's lists that still lead to a picture, before there are own figures
)
_LOWEST_RATE = 0.05  # a run of bad luck at the start must not order every candidate at once
_MANY_URLS = 3  # from so many addresses the same bytes are a "no longer available" picture
_NEAR = 4  # bits of 64 in which the perceptual hashes of near-duplicates may differ
_BANDS = tuple((13 * band, (1 << (12 if band == 4 else 13)) - 1) for band in range(_NEAR + 1))

PRECOMPUTED = "precomputed"  # the class of rows whose vector is published: their picture is not needed
CLASSES_OF_SUCCESS = ("chosen", "spare", "duplicate", "near_duplicate", "placeholder")


@dataclass(frozen=True)
class Result:
    """What became of one candidate: img2dataset's `status` and message, and the hashes of its picture."""

    rank: int
    url: str
    status: str
    error_message: str | None
    sha256: str | None
    dhash: int | None

    @property
    def had(self) -> bool:
        """Whether the picture is in the shards."""
        return self.status == "success"

    @property
    def error_class(self) -> str | None:
        """The class of the failure."""
        return None if self.error_message is None else self.error_message.partition(":")[0]


def is_made(shards: Path, shard: int) -> bool:
    """Whether a shard is finished: its `_stats.json` is there and whole, and its files are there.

    A tar may have been discarded.
    """
    name = shard_name(shard)
    try:
        json.loads((shards / f"{name}{STATS}").read_text())
    except (FileNotFoundError, ValueError):
        return False
    tar = shards / f"{name}{TAR}"
    return (tar.exists() or is_discarded(tar)) and (shards / f"{name}{ROWS}").exists()


def read_shard(shards: Path, shard: int) -> list[Result]:
    """The results in a finished shard, by rank."""
    import pyarrow.parquet as pq

    path = shards / f"{shard_name(shard)}{ROWS}"
    columns = ["key", "url", "status", "error_message", "sha256"]
    columns += [name for name in pq.read_schema(path).names if name == "dhash"]
    results = [_result(row) for row in pq.read_table(path, columns=columns).to_pylist()]
    return sorted(results, key=lambda result: result.rank)


def _result(row: dict[str, Any]) -> Result:
    dhash = row.get("dhash")
    return Result(
        rank=int(row["key"]),
        url=row["url"],
        status=row["status"],
        error_message=row["error_message"],
        sha256=row["sha256"],
        dhash=None if dhash is None else int(dhash, 16),
    )


def round_size(target: int, good: int, tried: int) -> int:
    """How many further candidates to try when `good` pictures of `target` came of `tried` ones."""
    rate = max(good / tried, _LOWEST_RATE) if tried else _FIRST_GUESS
    return max(1, math.ceil((target - good) / rate))


Dedupe = Literal["exact", "near", "none"]


def choose(
    results: Sequence[Result], target: int, dedupe: Dedupe = "exact", *, keep_placeholders: bool = False
) -> dict[int, str]:
    """The class of every picture that was had, by rank; `chosen` are the best `target` that count.

    `results` in order of rank. See `CLASSES_OF_SUCCESS`.
    """
    placeholders = set() if keep_placeholders else _placeholders(results)
    before, classes, chosen = _Before(dedupe), dict[int, str](), 0
    for result in results:
        if result.error_class == PRECOMPUTED:
            classes[result.rank] = "chosen" if chosen < target else "spare"
            chosen += classes[result.rank] == "chosen"
        if not result.had:
            continue
        if result.sha256 in placeholders:
            classes[result.rank] = "placeholder"
        elif (repeated := before.shows(result)) is not None:
            classes[result.rank] = repeated
        else:
            classes[result.rank] = "chosen" if chosen < target else "spare"
            chosen += 1
    return classes


def _placeholders(results: Iterable[Result]) -> set[str | None]:
    urls = defaultdict[str | None, set[str]](set)
    for result in results:
        if result.had and len(urls[result.sha256]) < _MANY_URLS:
            urls[result.sha256].add(result.url)
    return {sha256 for sha256, found in urls.items() if len(found) >= _MANY_URLS}


class _Before:
    """The pictures of better rank, to tell whether one is among them already."""

    def __init__(self, dedupe: Dedupe) -> None:
        self._dedupe, self._files, self._looks = dedupe, set[str | None](), _NearIndex()

    def shows(self, result: Result) -> str | None:
        """`duplicate`, `near_duplicate`, or None: then the picture is remembered."""
        if self._dedupe == "none":
            return None
        if result.sha256 in self._files:
            return "duplicate"
        if self._dedupe == "near" and self._looks.has(result.dhash):
            return "near_duplicate"
        self._files.add(result.sha256)
        self._looks.add(result.dhash)
        return None


class _NearIndex:
    """Finds hashes with up to `_NEAR` wrong bits: then one of `_NEAR` + 1 bands of bits is intact."""

    def __init__(self) -> None:
        self._bands: list[dict[int, list[int]]] = [defaultdict(list) for _ in _BANDS]

    def add(self, value: int | None) -> None:
        if value is not None:
            for table, (shift, mask) in zip(self._bands, _BANDS, strict=True):
                table[value >> shift & mask].append(value)

    def has(self, value: int | None) -> bool:
        if value is None:
            return False
        return any(
            (value ^ other).bit_count() <= _NEAR
            for table, (shift, mask) in zip(self._bands, _BANDS, strict=True)
            for other in table.get(value >> shift & mask, ())
        )
