"""Metadata -> `selected.parquet`: the rows that pass the recipe's conditions, the best first."""

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import polars as pl

from visunex.base.errors import UsageError
from visunex.base.files import atomic, write_text
from visunex.base.streams import native_messages_held
from visunex.base.text import printable
from visunex.recipes import Columns, Recipe, RecipeError, dumps, load
from visunex.recipes.schema import Dedupe, Encode, Filter, Score, Source

from ..errors import FilterError, SourceError, StaleRunError
from ..inside.location import LOCATION, place_of
from ..metadata.columns import ROLES, column
from ..metadata.filetypes import is_parquet
from ..metadata.footers import swollen
from ..metadata.resolve import ResolvedSource, resolve_source
from ..metadata.table import (
    PREDICTOR,
    READ_ERRORS,
    Table,
    broken_file,
    is_about_utf8,
    not_utf8,
    open_table,
    predictor_behind,
    require_predictor,
    without_role,
    words_of,
)
from ..rundir import RunDir
from ..shards.naming import fitting_shard_size, key_digits
from .conditions import conditions, on_measured, roles_in_use
from .greedy import Copies, Greedy, limits
from .keywords import nearest_words
from .origin import (
    SAMPLE_ROWS,
    as_named,
    bounds_of_origin,
    licence_of,
    license_column,
    license_counts,
    licenses_there,
    remarks_on,
    taken,
)
from .ranking import ranking
from .report import FilterReport, report_before
from .scan import ScanResult, scan
from .top_rows import selected_names

if TYPE_CHECKING:
    from .looks import Looks

__all__ = ["FilterReport", "filter_rows"]

_OF_LIKENESS = frozenset({"like", "like_images", "min_likeness", "rank"})
_OF_UNLIKENESS = frozenset({"unlike", "unlike_images", "unlike_weight"})
_OF_SCORES = frozenset({"score_with", "max_unsafe", "dedupe_vectors"})
_GROUPS, _COPIES = 200, 20  # in a report: rows with copies, copies of one
_LATER = (
    "no published vectors (--precomputed): all candidates are fetched, and chosen by their own vectors "
    "after encode"
)


def filter_rows(
    run: RunDir,
    recipe: Recipe,
    *,
    overwrite: bool = False,
    metadata: str | ResolvedSource | None = None,
    why_not_added: Callable[[Collection[str]], str] | None = None,
) -> FilterReport:
    """Select a recipe's candidates into `run.selected`, and write `run.recipe`; the caller holds the lock.

    `metadata` says where the source's bytes lie, when not where its name says, or is the source. When the run
    already holds the selection of the same contents and settings, that is kept; of others it is replaced
    where `why_not_added` has nothing to say against it, given the new one's links. Raises SourceError,
    UsageError, FilterError (no row passes), StaleRunError (the run holds another selection, and `overwrite`
    is False); of a recipe with likeness also EncodeError (vectors that cannot be compared), ModelError.
    """
    started = time.monotonic()
    wanted, shard_size = recipe.filter, recipe.download.shard_size
    made_from = partial(_made_from, recipe.source, wanted, recipe.encode, shard_size)
    try:
        place = recipe.source.data if metadata is None else metadata
        source = resolve_source(place) if isinstance(place, str) else place
    except SourceError:
        if not overwrite and (before := report_before(run, made_from(None))):
            return _reused(run, recipe, before)  # it was read once; resuming needs no network
        raise
    now = made_from(source)
    if not overwrite and (before := report_before(run, now)):
        return _reused(run, recipe, before)

    if source.origin is not None and source.origin.kind != "original":
        click.echo(printable(f"taking {source.origin}"), err=True)

    def begin(*, replace: bool = overwrite) -> None:
        run.begin("filter", made_from=now, overwrite=replace)
        write_text(run.recipe, dumps(recipe))  # from here on it is what the run is asked for

    convert = partial(_as_parquet, source, run, recipe, anew=overwrite)
    late = why_not_added is not None and not overwrite and run.selected.exists()
    table, result, by = _scanned(convert, recipe, (lambda: None) if late else begin)
    if result.selected.is_empty():
        raise FilterError(_why_empty(recipe.source.data, wanted, table, result))
    if late and why_not_added is not None:
        why = why_not_added(result.selected["url"].to_list())
        try:
            begin(replace=not why)
        except StaleRunError as error:
            raise StaleRunError(f"{error}\nNothing is added to {run.path}: {why}") from None
    report = _report(recipe, table, result, by, time.monotonic() - started)
    _write(run, result.selected, shard_size, report.scored_with or predictor_behind(table))
    run.record("filter", report.as_dict())
    return report


def _scanned(
    convert: Callable[..., ResolvedSource], recipe: Recipe, begin: Callable[[], object]
) -> tuple[Table, ScanResult, str]:
    """The source as a table, what is selected, by what it is ranked; texts that are not UTF-8 are mended."""
    readable = convert()
    try:
        with native_messages_held():
            return _selected(readable, recipe, begin)
    except SourceError as error:
        if not is_about_utf8(error):
            raise
        also = not_utf8(readable)
        if not also:
            raise
    return _selected(convert(also=also), recipe, begin)


def _selected(
    source: ResolvedSource, recipe: Recipe, begin: Callable[[], object]
) -> tuple[Table, ScanResult, str]:
    wanted = recipe.filter
    overrides, made = as_named(source, recipe.source)
    table = open_table(source, _overrides(overrides, wanted.score), roles_in_use(wanted), made)
    at_once = _tells_now(recipe.source.data, wanted, recipe.encode)
    if wanted.score_with is None:
        require_predictor(table, wanted.predictor)
    elif at_once:
        table = without_role(table, "score")
    asked = [*bounds_of_origin(table, wanted), *conditions(wanted, table.roles, table.schema)]
    unique_by = _unique_by(wanted.dedupe, table)
    seen = None
    if at_once:
        from .looks import looks  # which loads what compares vectors

        seen = looks(recipe.source.data, wanted, recipe.encode, table, recipe.download.max_remote_bytes)
    greedy = _greedy(wanted, table, seen)
    begin()
    measured = {} if seen is None else seen.of(table, asked)
    asked = [*asked, *on_measured(measured, wanted)]
    order = ranking(wanted, table, measured)
    return table, scan(table, asked, wanted.candidates, unique_by, order, greedy), order.by


def _greedy(wanted: Filter, table: Table, seen: "Looks | None") -> Greedy:
    """What leaves no room for a row beside better ones."""
    limited = limits(wanted.limits, selected_names(table), table.roles, table.schema)
    threshold = wanted.dedupe_vectors
    return Greedy(limited, None if threshold is None or seen is None else Copies(threshold, seen.units))


def _tells_now(data: str, wanted: Filter, encode: Encode) -> bool:
    """Whether published vectors tell now what is asked of rows; what compares vectors loads only then."""
    if not wanted.by_vectors:
        return False
    from .looks import vectors_place

    return wanted.by_likeness or vectors_place(data, encode.vectors_place) is not None


def _made_from(
    source: Source, wanted: Filter, encode: Encode, shard_size: int | None, resolved: ResolvedSource | None
) -> dict[str, Any]:
    """What the selection depends on; without the source's contents when it cannot be looked at."""
    columns: dict[str, Any] = {
        f"{role}_column": named
        for role in ROLES
        if (named := getattr(source.columns, role)) or role != "license"
    }
    columns |= {"column_names": list(source.column_names)} if source.column_names else {}
    columns |= {"image_column": source.columns.image} if source.columns.image else {}
    columns |= {f"made_{role}": template for role, template in source.made.templates.items()}
    settings = wanted.model_dump(mode="json", exclude=None if wanted.license else {"license"}) | columns
    if shard_size is not None:
        settings |= {"shard_size": shard_size}
    contents = {"contents": resolved.identity} if resolved else {}
    if not wanted.by_likeness:
        kept = {"rank"} if wanted.rank == "random" else set[str]()
        settings = {name: value for name, value in settings.items() if name not in _OF_LIKENESS - kept}
    settings = {key: value for key, value in settings.items() if value or key not in ("seed", "max_per")}
    if not (wanted.unlike or wanted.unlike_images):
        settings = {key: value for key, value in settings.items() if key not in _OF_UNLIKENESS}
    settings = {key: value for key, value in settings.items() if value is not None or key not in _OF_SCORES}
    if _tells_now(source.data, wanted, encode):
        from .looks import made_from

        settings |= made_from(source.data, wanted, encode)
    elif wanted.on_vectors:  # that is the choice after encode, and no matter of the selection
        bounds = {"min_score", "max_score"} if wanted.score_with else set[str]()
        settings = {key: value for key, value in settings.items() if key not in _OF_SCORES | bounds}
    return {"source": source.data, **contents, **settings}


def _reused(run: RunDir, recipe: Recipe, before: FilterReport) -> FilterReport:
    """The report of a selection that is kept; the run's recipe asks for it again, if it no longer did."""
    try:
        own = load(run.recipe)
    except RecipeError:
        own = recipe
    write_text(run.recipe, dumps(own.model_copy(update={"source": recipe.source, "filter": recipe.filter})))
    return before


def _as_parquet(
    source: ResolvedSource, run: RunDir, recipe: Recipe, *, anew: bool, also: Collection[str] = ()
) -> ResolvedSource:
    """The source, or what it is converted to; what can convert loads only when something is to be."""
    there = [path for path in source.paths if "://" not in path]
    parquet = [path for path in there if is_parquet(path)]
    elsewhere = [] if source.convert else [path for path in source.paths if "://" in path]
    also = {*also, *swollen([*parquet, *elsewhere])}
    if not (also or source.convert) and len(parquet) == len(there):
        return source
    from ..metadata.convert import as_parquet
    from ..metadata.formats.records import Reading

    reading = Reading(recipe.source.columns, recipe.source.column_names)
    most, most_moved = recipe.source.max_bytes, recipe.download.max_remote_bytes
    folder = run.path / ".visunex" / "source"
    return as_parquet(source, folder, reading, also=also, anew=anew, most=most, most_moved=most_moved)


def _overrides(columns: Columns, score: Score) -> Columns:
    """The columns that the recipe names; people's ratings come as several scores, of which it names one."""
    if score == "mean":
        return columns
    if columns.score is not None:
        raise UsageError(f"--score {score} chooses among SAC's scores, so --score-column cannot name one too")
    return columns.model_copy(update={"score": f"score_{score}"})


def _unique_by(dedupe: Dedupe, table: Table) -> str | None:
    """The column of the selection that tells duplicates."""
    if dedupe in ("url", "caption"):
        return dedupe
    if dedupe == "none":
        return None
    column(table.roles, table.schema, "hash", "--dedupe hash")
    return selected_names(table)[table.roles["hash"]]


def _write(run: RunDir, rows: pl.DataFrame, shard_size: int | None, predictor: str | None) -> None:
    """Write `selected.parquet`: the rows with their ranks, as keys, before them.

    It says whose the scores are, where that is known: another scale's thresholds do not fit them.
    """
    if LOCATION in rows.columns:
        run.note_places({place_of(text) for text in rows[LOCATION].drop_nulls()})
    ranks = pl.int_range(rows.height, dtype=pl.Int64, eager=True).cast(pl.String)
    with atomic(run.selected) as path:
        digits = key_digits(fitting_shard_size(shard_size, rows.height))
        keyed = rows.insert_column(0, ranks.str.zfill(digits).alias("key"))
        keyed.write_parquet(path, metadata={PREDICTOR: predictor} if predictor else None)


def _report(recipe: Recipe, table: Table, result: ScanResult, by: str, seconds: float) -> FilterReport:
    rows, wanted = result.selected, recipe.filter
    record, own_licenses = taken(table, wanted), license_column(table)
    later = (
        [_LATER] if wanted.on_vectors and not _tells_now(recipe.source.data, wanted, recipe.encode) else []
    )
    places = {"best": 0, "top": min(wanted.top, rows.height) - 1, "last": -1}
    values: dict[str, Any] = {
        f"{place}_{column}": rows[by][at] if column == by else None
        for place, at in places.items()
        for column in ("score", "likeness")
    }
    return FilterReport(
        source=recipe.source.data,
        files=len(table.source.paths),
        rows=result.rows + sum(table.source.dropped.values()),
        dropped={**table.source.dropped, **result.dropped},
        passed=result.passed,
        selected=rows.height,
        top=wanted.top,
        ranked_by=by,
        seconds=seconds,
        remarks=[*remarks_on(record, table), *table.source.remarks, *later],
        taken=record,
        licence=licence_of(table.source),
        licenses=license_counts(rows.head(wanted.top), own_licenses),
        license_column=own_licenses,
        scored_with=None if later else wanted.score_with,
        seed=wanted.seed if by == "random" else None,
        copies={rows["url"][at]: links[:_COPIES] for at, links in list(result.copies.items())[:_GROUPS]},
        **values,
    )


def _why_empty(data: str, wanted: Filter, table: Table, result: ScanResult) -> str:
    """Why no row is left: which conditions dropped them, and which words do occur."""
    if not result.rows:
        return f"{data} has no rows"
    drops = ", ".join(f"{name} {count:,}" for name, count in result.dropped.items() if count)
    message = f"none of the {result.rows:,} rows passes (dropped by {drops})"
    if wanted.license and result.dropped["license"]:
        message += f"\nLicences that do occur: {', '.join(licenses_there(table))}"
    if not wanted.keywords or wanted.match == "regex" or not result.dropped["keywords"]:
        return message
    caption = column(table.roles, table.schema, "caption", "--keywords")
    with native_messages_held():
        try:
            sample = table.rows.select(caption).head(SAMPLE_ROWS).collect(engine="streaming").to_series()
        except READ_ERRORS as error:
            raise SourceError(broken_file(table) or f"{data} cannot be read: {words_of(error)}") from None
    near = nearest_words(sample, wanted.keywords)
    return f"{message}\nWords that do occur: {', '.join(near)}" if near else message
