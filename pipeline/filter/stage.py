"""Metadata -> `selected.parquet`: the rows that pass the recipe's conditions, the best first."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from visunex.base.errors import UsageError
from visunex.base.files import atomic, write_text
from visunex.base.progress import human_time
from visunex.recipes import Columns, Recipe, dumps

from ..errors import FilterError, SourceError
from ..metadata.columns import ROLES, column
from ..metadata.filetypes import is_parquet
from ..metadata.resolve import ResolvedSource, resolve
from ..metadata.table import Table, open_table, require_predictor
from ..rundir import RunDir
from ..shards.naming import key_digits
from .conditions import Condition, conditions, on_likeness
from .keywords import nearest_words
from .scan import Ranking, Reading, read, selected_names, survivors

if TYPE_CHECKING:
    from .clip_query import Looks

__all__ = ["FilterReport", "filter_rows"]

_OF_LIKENESS = frozenset({"like", "like_images", "min_likeness", "rank"})
SAMPLE_ROWS = 200_000  # captions looked through for words to suggest


@dataclass(frozen=True)
class FilterReport:
    """What became of the rows: `rows` = the sum of `dropped` + `selected`.

    A row is counted with the first condition that it failed, in the order of `dropped`. `duplicates` share
    their URL (caption, hash) with a kept row of higher rank; `beyond_reserve` rank below the last row kept.
    `passed` counts the rows before those two. `no_vector` lack a published vector to tell their likeness.
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
        wanted, spare = min(self.top, self.selected), max(0, self.selected - self.top)
        lines.append(f"  {self.selected:>12,}  selected: the {wanted:,} best, and {spare:,} in reserve")
        for name, best, at_top in (
            ("scores", self.best_score, self.top_score),
            ("likeness", self.best_likeness, self.top_likeness),
        ):
            if best is not None:
                values = (f"{value:.3f}" for value in (best, at_top) if value is not None)
                lines.append(f"  {name} {' to '.join(values)} among the {wanted:,} best")
        if self.selected < self.top:
            lines.append(f"  fewer than the {self.top:,} asked for; other keywords or bounds may find more")
        lines.append(f"  {human_time(self.seconds)}, {self.rows_per_second:,.0f} rows/s")
        return "\n".join(lines)


def filter_rows(
    run: RunDir, recipe: Recipe, *, overwrite: bool = False, metadata: str | None = None
) -> FilterReport:
    """Select a recipe's candidates into `run.selected`, and write `run.recipe`; the caller holds the lock.

    `metadata` says where the source's bytes lie, when not where its name says. When the run already holds the
    selection of the same contents and settings, that is kept. Raises SourceError, UsageError, FilterError (no
    row passes), StaleRunError (the run holds another selection, and `overwrite` is False); of a recipe with
    likeness also EncodeError (vectors that cannot be read or compared) and ModelError.
    """
    started = time.monotonic()
    try:
        source = resolve(metadata or recipe.source.data)
    except SourceError:
        if not overwrite and (known := _as_before(run, _made_from(recipe, None))):
            return known  # it was read once; resuming needs no network
        raise
    made_from = _made_from(recipe, source)
    if not overwrite and (known := _as_before(run, made_from)):
        return known
    table = open_table(_as_parquet(source, run), _told(recipe))
    require_predictor(table, recipe.filter.predictor)
    wanted = conditions(recipe.filter, table.roles, table.schema)
    unique_by = _unique_by(recipe, table)
    looks = _looks(recipe, table)
    run.begin("filter", made_from=made_from, overwrite=overwrite)
    likeness = None if looks is None else _likeness(looks, table, wanted)
    if likeness is not None:
        wanted = [*wanted, *on_likeness(likeness, recipe.filter)]
    ranking = Ranking(recipe.filter.ranked_by, likeness)
    reading = read(table, wanted, recipe.filter.candidates, unique_by, ranking)
    report = _finish(run, recipe, table, reading, time.monotonic() - started)
    run.record("filter", report.as_dict())
    return report


def _looks(recipe: Recipe, table: Table) -> "Looks | None":
    """What pictures shall look like, where the recipe says so; what compares vectors loads only then."""
    if not recipe.filter.by_likeness:
        return None
    from .clip_query import looks

    return looks(recipe, table)


def _likeness(looks: "Looks", table: Table, wanted: Sequence[Condition]) -> pl.Expr:
    """The likeness of a row, null where no vector of it is published or it does not pass anyway."""
    from ..vectors.cosine import key, measure

    keys = key(table, looks.by)
    hashes = survivors(table, wanted, keys)
    return measure(looks.folder, looks.by, hashes, looks.vector).of(keys)


def _as_parquet(source: ResolvedSource, run: RunDir) -> ResolvedSource:
    """The source, or what it is converted to; what can convert loads only when something is to be."""
    if not source.convert and all("://" in path or is_parquet(path) for path in source.paths):
        return source
    from ..metadata.convert import as_parquet

    return as_parquet(source, run.path / ".visunex" / "source")


def _told(recipe: Recipe) -> Columns:
    """The columns that the recipe names; people's ratings come as several scores, of which it names one."""
    told, which = recipe.source.columns, recipe.filter.score
    if which == "mean":
        return told
    if told.score is not None:
        raise UsageError(f"--score {which} chooses among SAC's scores, so --score-column cannot name one too")
    return told.model_copy(update={"score": f"score_{which}"})


def _made_from(recipe: Recipe, source: ResolvedSource | None) -> dict[str, Any]:
    """What the selection depends on; without the source's contents when it cannot be looked at."""
    columns = {f"{role}_column": getattr(recipe.source.columns, role) for role in ROLES}
    settings = recipe.filter.model_dump(mode="json") | {"shard_size": recipe.download.shard_size} | columns
    contents = {"contents": source.identity} if source else {}
    if recipe.filter.by_likeness:
        from .clip_query import made_from

        settings |= made_from(recipe)
    else:
        settings = {name: value for name, value in settings.items() if name not in _OF_LIKENESS}
    return {"source": recipe.source.data, **contents, **settings}


def _as_before(run: RunDir, made_from: dict[str, Any]) -> FilterReport | None:
    """The report of a selection that is there already and was made from just this."""
    before = run.made_from("filter")
    if (
        before is None
        or {**before, **made_from} != before
        or not (run.selected.exists() and run.recipe.exists())
    ):
        return None
    noted = run.reports().get("filter")
    fields = FilterReport.__dataclass_fields__
    if noted is None or not fields.keys() <= noted.keys():
        return None
    return FilterReport(**{**{name: noted[name] for name in fields}, "reused": True})


def _unique_by(recipe: Recipe, table: Table) -> str | None:
    """The column of the selection that tells duplicates."""
    how = recipe.filter.dedupe
    if how in ("url", "caption"):
        return how
    if how == "none":
        return None
    column(table.roles, table.schema, "hash", "--dedupe hash")
    return selected_names(table)[table.roles["hash"]]


def _finish(run: RunDir, recipe: Recipe, table: Table, reading: Reading, seconds: float) -> FilterReport:
    rows = reading.selected
    if rows.is_empty():
        raise FilterError(_nothing(recipe, table, reading))
    _write(run, recipe, rows)
    top, by = recipe.filter.top, recipe.filter.ranked_by
    places = {"best": 0, "top": min(top, rows.height) - 1, "last": -1}
    values: dict[str, Any] = {
        f"{place}_{column}": rows[by][at] if column == by else None
        for place, at in places.items()
        for column in ("score", "likeness")
    }
    return FilterReport(
        source=recipe.source.data,
        files=len(table.source.paths),
        rows=reading.rows,
        dropped=reading.dropped,
        passed=reading.passed,
        selected=rows.height,
        top=top,
        ranked_by=by,
        seconds=seconds,
        **values,
    )


def _write(run: RunDir, recipe: Recipe, rows: pl.DataFrame) -> None:
    digits = key_digits(recipe.download.shard_size)
    ranks = pl.int_range(rows.height, dtype=pl.Int64, eager=True).cast(pl.String)
    with atomic(run.selected) as path:
        rows.insert_column(0, ranks.str.zfill(digits).alias("key")).write_parquet(path)
    write_text(run.recipe, dumps(recipe))


def _nothing(recipe: Recipe, table: Table, reading: Reading) -> str:
    """Why no row is left: which conditions dropped them, and which words do occur."""
    if not reading.rows:
        return f"{recipe.source.data} has no rows"
    drops = ", ".join(f"{name} {count:,}" for name, count in reading.dropped.items() if count)
    message = f"none of the {reading.rows:,} rows passes (dropped by {drops})"
    wanted = recipe.filter
    if not wanted.keywords or wanted.match == "regex" or not reading.dropped["keywords"]:
        return message
    caption = column(table.roles, table.schema, "caption", "--keywords")
    sample = table.rows.select(caption).head(SAMPLE_ROWS).collect(engine="streaming").to_series()
    near = nearest_words(sample, wanted.keywords)
    return f"{message}\nWords that do occur: {', '.join(near)}" if near else message
