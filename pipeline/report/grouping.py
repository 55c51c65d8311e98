"""The groups of a run's pictures, and the words that the stage which had the model found for each."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EncodeError
from ..reduce.groups import FEW, Groups, group, read_groups, separation, write_groups
from .facts import MOST, Facts

__all__ = ["Grouped", "grouped", "separation_of"]


@dataclass(frozen=True)
class Grouped:
    """The groups of `Facts.images`, row for row; how many pictures of the run are in each, and its words."""

    groups: Groups
    sizes: Mapping[int, int]
    words: Mapping[int, list[str]] = field(default_factory=dict)


def grouped(facts: Facts) -> Grouped | None:
    """Those that are stored, else found now and stored for `curate`; None of so few that all are seen."""
    if len(facts.units) <= FEW:
        return None
    keys = [each.key or each.where for each in facts.images]
    with contextlib.suppress(EncodeError):
        stored = read_groups(facts.run.groups)
        if _fits(stored, keys):
            sizes = Counter(stored.values())
            of = np.array([stored[key] for key in keys], np.int64)
            return Grouped(_with_centres(of, len(sizes), facts.units), sizes, _words(facts, sizes))
    groups = group(facts.units)
    write_groups(facts.run.groups, keys, groups)
    return Grouped(groups, Counter(groups.of.tolist()))


def separation_of(found: Grouped | None) -> str:
    """What the separation of groups means; nothing where there is one, or none."""
    if found is None or found.groups.separation is None:
        return ""
    return (
        f"Separation {found.groups.separation:.2f}: near 0 they run into one another (one taste), towards 1 "
        "they lie apart (several tastes in one embedding)."
    )


def _fits(stored: Mapping[str, int], keys: list[str]) -> bool:
    """Whether the groups are of these pictures, or these the best of those."""
    of_these = stored.keys() == {*keys} or (len(keys) == MOST and stored.keys() > {*keys})
    return of_these and set(stored.values()) == set(range(len(set(stored.values()))))


def _with_centres(of: NDArray[np.int64], count: int, units: NDArray[np.float32]) -> Groups:
    sums = np.stack([units[of == each].sum(axis=0, dtype=np.float64) for each in range(count)])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    centres = (sums / np.maximum(lengths, 1e-30)).astype(np.float32)
    return Groups(of, centres, separation(units, centres))


def _words(facts: Facts, sizes: Mapping[int, int]) -> dict[int, list[str]]:
    """The words in `report.json`, by group; none where they are of other groups than the stored ones."""
    entries = _mappings(facts.reports.get("encode", {}).get("groups"))
    noted = {number: each for each in entries if isinstance(number := each.get("group"), int)}
    if {number: each.get("images") for number, each in noted.items()} != dict(sizes):
        return {}
    return {
        number: [str(word.get("word")) for word in _mappings(each.get("words"))]
        for number, each in noted.items()
    }


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
