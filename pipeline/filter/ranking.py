"""What the best rows are best in: a score, likeness, or a draw by lot that is the same everywhere."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from visunex.recipes.schema import Filter

from ..metadata.columns import column
from ..metadata.table import Table

__all__ = ["BY_SCORE", "Ranking", "drawn", "ranking"]

_BITS = 53  # of a float64's mantissa


@dataclass(frozen=True)
class Ranking:
    """The column of the selection that the best rows are highest in; and columns that are not the table's."""

    by: str = "score"
    measured: Mapping[str, pl.Expr] = field(default_factory=dict)


BY_SCORE = Ranking()


def ranking(wanted: Filter, table: Table, measured: Mapping[str, pl.Expr]) -> Ranking:
    """What the best rows are best in: what is asked for, else a score where there is one, else a draw."""
    by = wanted.rank or wanted.ranked_by
    if by == "score" and not {"score"} & {*measured, *table.roles}:
        if wanted.rank is not None:
            column(table.roles, table.schema, "score", "--rank score")
        by = "random"
    if by != "random":
        return Ranking(by, measured)
    links = column(table.roles, table.schema, "url", "--rank random")
    return Ranking(by, {**measured, "random": drawn(links, wanted.seed)})


def drawn(links: pl.Expr, seed: int) -> pl.Expr:
    """A number from 0 to 1 for each link, Float64, null for none: BLAKE2b of the link, keyed by `seed`.

    It depends on nothing else: not on other rows, files, their order, the machine or a library's version.
    """
    key = seed.to_bytes(16, "little", signed=True)
    keyed = hashlib.blake2b(digest_size=8, key=key)

    def number(link: bytes | None) -> bytes:
        own = keyed.copy()
        own.update(link or b"")
        return own.digest()

    def numbers(column: pl.Series) -> pl.Series:
        hashes = np.frombuffer(b"".join(map(number, column.cast(pl.Binary).to_list())), "<u8")
        values = pl.Series(column.name, (hashes >> np.uint64(64 - _BITS)) * 2.0**-_BITS)
        return pl.select(pl.when(column.is_not_null()).then(values)).to_series().alias(column.name)

    return links.map_batches(numbers, return_dtype=pl.Float64, is_elementwise=True)
