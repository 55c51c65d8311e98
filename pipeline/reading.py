"""A source's rows as one stream through the conditions, into a selection.

The texts, which are nearly all of the data, are read once; what the conditions on numbers drop is counted
ahead of that, from the few columns that they need. Memory does not grow with the number of rows.
"""

from collections.abc import Sequence
from functools import reduce
from operator import and_

import polars as pl

from visunex.base.console import Progress

from .columns import Role, column
from .conditions import Condition
from .errors import SourceError, UsageError
from .selection import CANONICAL, Selection
from .sources import INDEX, Table, broken_file

__all__ = ["read_into", "selected_names"]

_FAILED = "__failed__"
_KINDS: dict[Role, pl.DataType] = {
    "url": pl.String(),
    "caption": pl.String(),
    "score": pl.Float64(),
    "width": pl.Int64(),
    "height": pl.Int64(),
}
_READING = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def read_into(selection: Selection, table: Table, wanted: Sequence[Condition]) -> dict[str, int]:
    """Feed every row that passes into `selection`; returns the number of `rows` and what each drops.

    Raises SourceError for a broken file, by name; UsageError for a `where` that fails on a value.
    """
    numbers = [condition for condition in wanted if condition.on_numbers]
    others = [condition for condition in wanted if not condition.on_numbers]
    try:
        left = _count_passing(table, numbers)
        counts = {"rows": left[0]} | {c.name: left[n] - left[n + 1] for n, c in enumerate(numbers)}
        return counts | _stream(table, numbers, others, left[-1], selection)
    except _READING as error:
        raise _explained(table, wanted, error) from None


def _count_passing(table: Table, numbers: Sequence[Condition]) -> list[int]:
    """How many rows there are, how many pass the first condition, the first two, and so on."""
    so_far = pl.lit(True)
    sums = [pl.len()]
    for condition in numbers:
        so_far = so_far & condition.passes
        sums.append(so_far.sum())
    named = (each.cast(pl.Int64).alias(str(n)) for n, each in enumerate(sums))
    return list(table.rows.select(named).collect(engine="streaming").row(0))


def _stream(
    table: Table, numbers: Sequence[Condition], others: Sequence[Condition], rows: int, selection: Selection
) -> dict[str, int]:
    """Send the rows that pass into `selection`; `rows` is how many pass the conditions on numbers.

    The scan itself applies these and the first other one: so other columns are decoded only where needed.
    """
    first, rest = others[0], others[1:]
    passing = table.rows.filter(reduce(and_, (c.passes for c in (*numbers, first))))
    batches = passing.select(_failed(rest), *_selected_columns(table)).collect_batches(
        maintain_order=False, engine="streaming"
    )
    arrived, dropped = 0, dict.fromkeys((c.name for c in rest), 0)
    with Progress("filter", None, unit="rows that match") as progress:
        for batch in batches:
            arrived += batch.height
            for n, condition in enumerate(rest):
                dropped[condition.name] += int((batch[_FAILED] == n).sum())
            selection.add(batch.filter(pl.col(_FAILED).is_null()).drop(_FAILED))
            progress.advance(batch.height)
    return {first.name: rows - arrived, **dropped}


def _failed(rest: Sequence[Condition]) -> pl.Expr:
    """The number of the first condition that a row fails; null when it passes all."""
    tests = [pl.when(~condition.passes).then(pl.lit(n, pl.UInt8)) for n, condition in enumerate(rest)]
    return pl.coalesce(*tests, pl.lit(None, pl.UInt8)).alias(_FAILED)


def _selected_columns(table: Table) -> list[pl.Expr]:
    """The columns of the selection: the canonical ones, then the source's own."""
    canonical = [_canonical(table, role, kind).alias(role) for role, kind in _KINDS.items()]
    own = selected_names(table).items()
    return canonical + [pl.col(name).alias(alias) for name, alias in own if alias not in _KINDS]


def _canonical(table: Table, role: Role, kind: pl.DataType) -> pl.Expr:
    if role not in table.roles:
        return pl.lit(None, kind)
    return column(table.roles, table.schema, role, "the selection").cast(kind, strict=False)


def selected_names(table: Table) -> dict[str, str]:
    """What each of the source's columns is called in the selection; pandas' row labels are left out.

    The columns of CANONICAL get their role's name; another column of such a name becomes `source_...`.
    """
    names: dict[str, str] = {table.roles[role]: role for role in _KINDS if role in table.roles}
    taken = {"key", *CANONICAL}
    for own in table.schema:
        if own not in names and (own != INDEX or own in table.roles.values()):
            alias = own
            while alias in taken:
                alias = f"source_{alias}"
            taken.add(alias)
            names[own] = alias
    return names


def _explained(table: Table, wanted: Sequence[Condition], error: BaseException) -> Exception:
    """What went wrong while reading: a broken file, or a `where` that fails on a value."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if broken := broken_file(table):
        return SourceError(broken)
    if any(condition.name == "where" for condition in wanted):
        return UsageError(f"--where fails on some row: {said}")
    return SourceError(f"{table.source.name} cannot be read: {said}")
