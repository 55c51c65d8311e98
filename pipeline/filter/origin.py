"""A data set known by name, taken from one of its places: what that is, whether it is right, its licences.

A copy is judged by what it holds, not by whose it is: its columns, number of rows, range of scores, and rows
that are known of the original.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from visunex.recipes import Columns
from visunex.recipes.schema import Filter, Source

from ..metadata.catalog.entries import DataSet, data_set
from ..metadata.columns import column
from ..metadata.resolve import ResolvedSource
from ..metadata.table import Table
from .conditions import Condition
from .top_rows import selected_names

__all__ = [
    "SAMPLE_ROWS",
    "as_named",
    "bounds_of_origin",
    "licence_of",
    "license_column",
    "license_counts",
    "licenses_there",
    "remarks_on",
    "taken",
]

_LICENSES = 20  # in a report
SAMPLE_ROWS = 200_000  # looked through for words and licences to suggest
RELAION = (
    "this set is older than Re-LAION (August 2024), which removed links to suspected abuse of children: "
)


def as_named(source: ResolvedSource, settings: Source) -> tuple[Columns, Mapping[str, str]]:
    """Which columns a source has for what, and which to put together: the recipe's, else the catalogue's."""
    named = None if source.origin is None else data_set(source.origin.name)
    if named is None:
        return settings.columns, settings.made.templates
    said = settings.columns.model_dump(exclude_none=True)
    roles = {role: column for role, column in named.roles.items() if role not in said}
    return settings.columns.model_copy(update=roles), {**named.made, **settings.made.templates}


def bounds_of_origin(table: Table, wanted: Filter) -> list[Condition]:
    """The conditions that a row must pass to belong to the set, and to be taken from one of its age."""
    origin = table.source.origin
    if origin is None:
        return []
    found = []
    if origin.min_score is not None:
        score = column(table.roles, table.schema, "score", f"taking {origin.name} from a larger set")
        found.append(Condition("not_in_the_set", score.ge(origin.min_score)))
    if (unsafe := _max_punsafe(table, wanted)) is not None:
        values = column(table.roles, table.schema, "punsafe", "--max-punsafe")
        found.append(Condition("max_punsafe_of_the_set", values.le(unsafe)))
    return found


def taken(table: Table, wanted: Filter) -> dict[str, Any]:
    """What a named set was taken from, as JSON for the record: nothing for other sources.

    `verified` is whether a copy holds what is known of the original, `doubts` what does not agree.
    """
    origin = table.source.origin
    if origin is None:
        return {}
    named = data_set(origin.name)
    doubts = list(_doubts(table, named)) if origin.kind == "copy" and named is not None else []
    unsafe = _max_punsafe(table, wanted)
    record: dict[str, Any] = {"name": origin.name, "kind": origin.kind, "address": origin.address}
    record |= {"passed_over": list(origin.passed_over)} if origin.passed_over else {}
    record |= {"min_score": origin.min_score} if origin.min_score is not None else {}
    record |= {"max_punsafe": unsafe} if unsafe is not None else {}
    return record | ({"verified": not doubts, "doubts": doubts} if origin.kind == "copy" else {})


def licence_of(source: ResolvedSource) -> str | None:
    """The licence of the data set itself, as the catalogue knows it, else as its page says it; else None."""
    named = None if source.origin is None else data_set(source.origin.name)
    if named is not None and not (source.licence and named.licence.startswith("not verified")):
        return named.licence
    return f"{source.licence}, says the page of the data set" if source.licence else None


def remarks_on(record: dict[str, Any], table: Table) -> Iterator[str]:
    """The same for a person, a line each."""
    origin = table.source.origin
    if origin is None:
        return
    if origin.kind != "original":
        yield f"taken: {origin}"
    if record.get("doubts"):
        yield f"an unverified mirror: {'; '.join(record['doubts'])}"
    elif record.get("verified"):
        yield "a verified mirror: it holds what is known of the original"
    if "max_punsafe" in record:
        yield f"{RELAION}rows with punsafe above {record['max_punsafe']:g} are left out (--max-punsafe)"
    elif origin.max_punsafe is not None and "punsafe" not in table.roles:
        yield f"{RELAION}no column tells how likely a row is unsafe"


def _max_punsafe(table: Table, wanted: Filter) -> float | None:
    """The bound that holds as the recipe names none; None where the source has no such column."""
    origin = table.source.origin
    if origin is None or wanted.max_punsafe is not None or "punsafe" not in table.roles:
        return None
    return origin.max_punsafe


def _doubts(table: Table, named: DataSet) -> Iterator[str]:
    """What of a copy does not agree with what is known of the original, one scan over two columns."""
    here = {name.lower() for name in table.schema}
    if missing := [name for name, kind in named.columns.items() if name.lower() not in here]:
        yield f"it has no {', '.join(missing)}"
    if not (named.exact or named.scores or named.pairs):
        yield "nothing is known of the original to compare it with"
        return
    there = "score" in table.roles
    score = column(table.roles, table.schema, "score", "verifying a copy") if there else pl.lit(None)
    score = score.cast(pl.Float64)
    facts = [pl.len().alias("rows"), score.min().alias("least"), score.max().alias("most")]
    found = table.rows.select(facts).collect(engine="streaming").row(0, named=True)
    if named.exact and found["rows"] != named.rows:
        yield f"it has {found['rows']:,} rows, the original {named.rows:,}"
    if named.scores and not _within(found["least"], found["most"], named.scores):
        yield f"its scores are {found['least']} to {found['most']}, the original's {named.scores}"
    yield from _wrong_pairs(table, named, score)


def _within(least: float | None, most: float | None, bounds: tuple[float, float]) -> bool:
    return least is not None and most is not None and bounds[0] <= least and most <= bounds[1]


def _wrong_pairs(table: Table, named: DataSet, score: pl.Expr) -> Iterator[str]:
    if not named.pairs:
        return
    url = column(table.roles, table.schema, "url", "verifying a copy")
    rows = table.rows.filter(url.is_in([*named.pairs])).select(url.alias("url"), score.alias("score"))
    found = dict(rows.collect(engine="streaming").iter_rows())
    wrong = [link for link, value in named.pairs.items() if abs((found.get(link) or 0) - value) > 0.01]
    if wrong:
        yield f"{len(wrong)} of {len(named.pairs)} rows known of the original differ, such as {wrong[0]}"


def license_column(table: Table) -> str | None:
    """What the selection calls the column with the licence."""
    own = table.roles.get("license")
    return None if own is None else selected_names(table)[own]


def license_counts(rows: pl.DataFrame, name: str | None) -> dict[str, int]:
    """How many rows there are of each value of a column, the commonest first; nothing without a column."""
    if name is None:
        return {}
    values = rows[name].cast(pl.String).fill_null("no licence given")
    found = values.value_counts(sort=True).sort(["count", name], descending=[True, False])
    return dict(found.head(_LICENSES).iter_rows())


def licenses_there(table: Table) -> list[str]:
    """The licences in the first rows, the commonest first."""
    own = column(table.roles, table.schema, "license", "--license").alias("license")
    return list(
        license_counts(table.rows.select(own).head(SAMPLE_ROWS).collect(engine="streaming"), "license")
    )
