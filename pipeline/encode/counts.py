"""What became of images, counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import EncodeError
from ..shards.members import LeftOut
from ..shards.samples import Source
from ..shards.sidecar import chosen_count
from .reports import SHARD
from .resume import MOST_EXAMPLES

__all__ = ["OutcomeCounts", "count_chosen", "count_missing_shards", "require_some"]


@dataclass
class OutcomeCounts:
    """What became of images: `images` = `encoded` + the sum of `failed`.

    `examples` names some images for each reason; `left_out` counts what was no image to begin with.
    """

    images: int = 0
    encoded: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def as_dict(self) -> dict[str, Any]:
        """The counts for a report, the commonest reason first."""
        return {
            "images": self.images,
            "encoded": self.encoded,
            "failed": dict(self.failed.most_common()),
            "examples": self.examples,
            "left_out": dict(self.left_out.members),
            "damaged": self.left_out.damaged,
        }

    def add(self, part: Mapping[str, Any]) -> None:
        """Count a finished part by its provenance."""
        self.images += part["images"]
        self.encoded += part["images"] - sum(part["failed"].values())
        self.failed.update(part["failed"])
        for kind, names in part["examples"].items():
            there = self.examples.setdefault(kind, [])
            there += names[: MOST_EXAMPLES - len(there)]

    def add_failed(self, kind: str, names: Sequence[str], count: int | None = None) -> None:
        """Count wanted images that were not where they should be: `count`, else those that are named."""
        number = len(names) if count is None else count
        examples = {kind: list(names[:MOST_EXAMPLES])}
        self.add({"images": number, "failed": {kind: number}, "examples": examples})


def count_chosen(places: Sequence[Source]) -> int | None:
    """How many images there are to encode; None where no run's table says so."""
    tables = {source.chosen for source in places}
    return sum(chosen_count(table) for table in tables if table) if None not in tables else None


def count_missing_shards(counts: OutcomeCounts, places: Sequence[Source]) -> None:
    """Count the chosen images whose whole shard is not there."""
    total = count_chosen(places)
    if total is not None and total > counts.images:
        counts.add_failed(SHARD, [], total - counts.images)


def require_some(counts: OutcomeCounts, places: Sequence[str]) -> None:
    """Raise EncodeError, with the reasons, where no image could be encoded."""
    if counts.encoded:
        return
    reasons = [f"{count} {kind}" for kind, count in counts.failed.most_common()]
    reasons += [f"{count} left out: {kind}" for kind, count in counts.left_out.members.most_common()]
    reasons += [f"{shard}: {reason}" for shard, reason in counts.left_out.damaged.items()]
    where = ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
    raise EncodeError(f"no picture in {where} could be encoded ({'; '.join(reasons) or 'there is none'})")
