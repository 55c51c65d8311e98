"""What the filter says of a run: for JSON, and for a person."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from visunex.base.progress import human_time

from ..rundir import RunDir

__all__ = ["FilterReport", "report_before"]


@dataclass(frozen=True)
class FilterReport:
    """What became of the rows: `rows` = the sum of `dropped` + `selected`.

    A row is counted with the first condition that it failed, in the order of `dropped`. `duplicates` share
    their URL (caption, hash) with a kept row of higher rank; `beyond_reserve` rank below the last row kept.
    `passed` counts the rows before those two. `no_vector` lack a published vector to tell their likeness.
    `unreadable` are no rows of the format; `remarks` say where, and what else could not be taken as it is.
    `taken` is which of its places a data set known by name was taken from, and whether that is verified.
    `licence` is that of the data set, where it is known; `licenses` counts those of the rows wanted, as
    `license_column` of the selection has them.
    `scored_with` is the predictor by which rows were scored here, from their vectors; `seed` that of a draw.
    `copies` are links of near copies, by the link of the row that they are copies of (the first of them).
    Of the column `ranked_by` there are the values of the first row, the last wanted and the last in reserve.
    """

    source: str
    files: int
    rows: int
    dropped: dict[str, int]
    passed: int
    selected: int
    top: int
    ranked_by: str
    best_score: float | None
    top_score: float | None
    last_score: float | None
    best_likeness: float | None
    top_likeness: float | None
    last_likeness: float | None
    seconds: float
    reused: bool = False
    remarks: list[str] = field(default_factory=list)
    taken: dict[str, Any] = field(default_factory=dict)
    licence: str | None = None
    licenses: dict[str, int] = field(default_factory=dict)
    license_column: str | None = None
    scored_with: str | None = None
    seed: int | None = None
    copies: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Rows read in a second, everything included."""
        return self.rows / max(self.seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {**asdict(self), "rows_per_second": self.rows_per_second}

    def as_text(self) -> str:
        """The report for a person: how many rows each condition left out, and what is kept."""
        lines = [f"{self.rows:,} rows of {self.source}" + (" (as filtered before)" if self.reused else "")]
        lines += [
            f"  {-count:>12,}  {name.replace('_', ' ')}" for name, count in self.dropped.items() if count
        ]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += [f"  licence of the data set: {self.licence}"] if self.licence else []
        lines += [f"  {count:>12,}  under {name}" for name, count in self.licenses.items()]
        wanted, spare = min(self.top, self.selected), max(0, self.selected - self.top)
        which = (
            f"the {wanted:,} best" if self.seed is None else f"{wanted:,} drawn at random (seed {self.seed})"
        )
        lines.append(f"  {self.selected:>12,}  selected: {which}, and {spare:,} in reserve")
        for name, best, at_top in (
            (
                f"scores by {self.scored_with}" if self.scored_with else "scores",
                self.best_score,
                self.top_score,
            ),
            ("likeness", self.best_likeness, self.top_likeness),
        ):
            if best is not None:
                values = (f"{value:.3f}" for value in (best, at_top) if value is not None)
                lines.append(f"  {name} {' to '.join(values)} among the {wanted:,} best")
        if self.selected < self.top:
            lines.append(f"  fewer than the {self.top:,} asked for; other keywords or bounds may find more")
        lines.append(f"  {human_time(self.seconds)}, {self.rows_per_second:,.0f} rows/s")
        return "\n".join(lines)


def report_before(run: RunDir, made_from: dict[str, Any]) -> FilterReport | None:
    """The report of a selection that is there already and was made from just this."""
    before = run.made_from("filter")
    if (
        before is None
        or {**before, **made_from} != before
        or not (_is_readable(run.selected) and run.recipe.exists())
    ):
        return None
    report = run.reports().get("filter")
    if report is None:
        return None
    of_earlier_releases: dict[str, Any] = {"remarks": [], "taken": {}, "licence": None, "licenses": {}}
    of_earlier_releases |= {"license_column": None, "scored_with": None, "seed": None, "copies": {}}
    report = {**of_earlier_releases, **report}
    fields = FilterReport.__dataclass_fields__
    if not fields.keys() <= report.keys():
        return None
    return FilterReport(**{**{name: report[name] for name in fields}, "reused": True})


def _is_readable(selection: Path) -> bool:
    """Whether a selection is there, and not cut off: parquet files end with what says where all is."""
    try:
        pl.read_parquet_schema(selection)
    except (OSError, pl.exceptions.PolarsError):
        return False
    return True
