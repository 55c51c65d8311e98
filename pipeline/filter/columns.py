"""The columns of `selected.parquet`: those that every selection has, and the source's own."""

from collections.abc import Mapping

import polars as pl

from ..metadata.columns import Role, column
from ..metadata.table import INDEX, Table
from .top_rows import CANONICAL

__all__ = ["selected_columns", "selected_names"]

_KINDS: dict[Role, pl.DataType] = {
    "url": pl.String(),
    "caption": pl.String(),
    "score": pl.Float64(),
    "width": pl.Int64(),
    "height": pl.Int64(),
}


def selected_columns(table: Table, measured: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    """The columns of the selection: the canonical ones, what else is measured, then the source's own."""
    first: dict[str, pl.Expr] = {role: _canonical(table, role, kind) for role, kind in _KINDS.items()}
    canonical = [values.alias(name) for name, values in {**first, **measured}.items()]
    own = selected_names(table).items()
    return canonical + [pl.col(name).alias(alias) for name, alias in own if alias not in _KINDS]


def selected_names(table: Table) -> dict[str, str]:
    """What each of the source's columns is called in the selection; pandas' row labels are left out.

    The columns of CANONICAL get their role's name; another column of such a name, or of one that the
    selection has besides, becomes `source_...`.
    """
    names: dict[str, str] = {table.roles[role]: role for role in _KINDS if role in table.roles}
    ours = {"key", "likeness", "unsafe", *CANONICAL}
    for own in table.schema:
        if own not in names and (own != INDEX or own in table.roles.values()):
            alias = own
            while alias in ours or (alias != own and alias in table.schema):
                alias = f"source_{alias}"
            names[own] = alias
    return names


def _canonical(table: Table, role: Role, kind: pl.DataType) -> pl.Expr:
    if role != "url" and role not in table.roles:
        return pl.lit(None, kind)
    return column(table.roles, table.schema, role, "the selection").cast(kind, strict=False)
