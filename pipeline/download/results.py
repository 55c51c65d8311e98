"""What became of the candidates: the report of the download and `downloaded.parquet`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.files import atomic
from visunex.base.progress import human_time

from .candidates import Candidates
from .choose import CLASSES_OF_SUCCESS, Result

__all__ = ["DownloadReport", "sorted_classes", "write_downloaded"]


@dataclass(frozen=True)
class DownloadReport:
    """What the download did. The counts of `classes` add up to `attempted`.

    `left_out` counts, by reason, members of the tar that was looked through, where there was one.
    """

    target: int
    candidates: int
    attempted: int
    had: int
    chosen: int
    min_images: int
    classes: dict[str, int]
    shards: int
    shards_made_now: int
    rounds: int
    megabytes: float
    seconds: float
    pictures_per_second: float
    insecure: bool
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, int]:
        """The classes of links that gave no picture, most frequent first."""
        return {name: count for name, count in self.classes.items() if name not in CLASSES_OF_SUCCESS}

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """The report for a person."""
        lines = [
            f"{self.chosen} of {self.target} pictures: the best that {self.attempted} candidates gave",
            *(f"  {count:>7}  {name}" for name, count in self.classes.items()),
            f"{self.shards_made_now} shards made in {human_time(self.seconds)}: "
            f"{self.pictures_per_second:.0f} pictures/s, {self.megabytes:.1f} MB",
        ]
        lines += [f"{count:>9}  members of the tar left out: {why}" for why, count in self.left_out.items()]
        if self.insecure:
            lines.append("TLS certificates were not verified (--insecure).")
        return "\n".join(lines)


def sorted_classes(classes: Mapping[str, int]) -> dict[str, int]:
    """Successes first, then failures by number."""
    order = {name: position for position, name in enumerate(CLASSES_OF_SUCCESS)}
    return dict(sorted(classes.items(), key=lambda item: (order.get(item[0], len(order)), -item[1], item[0])))


def write_downloaded(
    path: Path, candidates: Candidates, results: Sequence[Result], found: Mapping[int, str]
) -> None:
    """Write the candidates with `status`, `error_message`, `error_class` and `chosen`.

    `status` is img2dataset's, or `not_attempted`; `error_class` also says why a picture that was had does not
    count (`duplicate`, `placeholder`).
    """
    count = candidates.count
    status = ["not_attempted"] * count
    message: list[str | None] = [None] * count
    kind = message.copy()
    for result in results:
        status[result.rank] = result.status
        message[result.rank] = result.error_message
        dropped = found.get(result.rank)
        kind[result.rank] = result.error_class or (dropped if dropped not in ("chosen", "spare") else None)
    table = candidates.table
    for name, values in {
        "key": [candidates.key(rank) for rank in range(count)],
        "status": status,
        "error_message": message,
        "error_class": kind,
    }.items():
        table = _with_column(table, name, pa.array(values, pa.string()))
    table = _with_column(table, "chosen", pa.array([found.get(rank) == "chosen" for rank in range(count)]))
    with atomic(path) as temporary:
        pq.write_table(table, temporary)


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    position = table.schema.get_field_index(name)
    return table.append_column(name, values) if position < 0 else table.set_column(position, name, values)
