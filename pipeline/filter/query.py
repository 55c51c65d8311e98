"""What is asked of every row of a table, and the predicate that asks it and counts the answers."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..metadata.columns import short_text
from ..metadata.table import Table
from .bounds import ScoreBound, pieces
from .conditions import Condition

__all__ = ["CountingPredicate", "Counts", "Query", "passing", "root_names"]

_AT = "__at__"


@dataclass(frozen=True)
class Query:
    """What is asked of a table of `total` rows: conditions, and of the rows that pass a score and `columns`.

    `score` is Float64 and called SCORE; None where nothing ranks the rows. `columns` are the selection's.
    """

    table: Table
    total: int
    conditions: Sequence[Condition]
    score: pl.Expr | None
    columns: Sequence[pl.Expr]

    def needed(self, after: int = 0) -> list[str]:
        """The table's columns that the conditions but for the first `after` look at, and the score."""
        score = [] if self.score is None else [self.score]
        return root_names([*(condition.passes for condition in self.conditions[after:]), *score])


@dataclass(frozen=True)
class Counts:
    """How many rows were looked at so far, and how many of these each condition dropped."""

    rows: int
    dropped: Mapping[str, int]


class CountingPredicate:
    """True of rows that pass a query's conditions and the bound on the score; counts what it is asked about.

    As polars decides how often and about what it asks a predicate, its counts are to be compared with the
    number of rows. polars may ask it from several threads.
    """

    def __init__(self, query: Query, bound: ScoreBound) -> None:
        self._conditions, self._score, self._bound = query.conditions, query.score, bound
        self._needed = [query.needed(after) for after in range(1, len(query.conditions) + 1)]
        self._rows = 0
        self._dropped = dict.fromkeys((condition.name for condition in query.conditions), 0)
        self._lock = threading.Lock()

    def __call__(self, batch: pl.Series) -> pl.Series:
        """Bool [n] for a batch of n rows, a struct of (at least) the columns that the query needs."""
        return pl.concat([self._judged(piece) for piece in pieces(_with_short_texts(batch.struct.unnest()))])

    def _judged(self, batch: pl.DataFrame) -> pl.Series:
        rows, dropped = passing(batch.with_row_index(_AT), self._conditions, self._needed)
        if self._score is not None:
            rows = self._bound.keep(rows.select(_AT, self._score))
        self._count(len(batch), dropped)
        answers = np.zeros(len(batch), dtype=bool)
        answers[rows[_AT].to_numpy()] = True
        return pl.Series(answers)

    def _count(self, rows: int, dropped: Mapping[str, int]) -> None:
        with self._lock:
            self._rows += rows
            for name, count in dropped.items():
                self._dropped[name] += count

    def counts(self) -> Counts:
        """What was counted so far."""
        with self._lock:
            return Counts(self._rows, dict(self._dropped))


def _with_short_texts(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(short_text(pl.col(name), kind) for name, kind in rows.schema.items())


def passing(
    rows: pl.DataFrame, conditions: Sequence[Condition], needed: Sequence[Sequence[str]]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that pass all conditions; and how many each dropped of those that passed the ones before it.

    `rows` have a column of their places; after condition n only that and the columns `needed[n]` are kept.
    """
    dropped = {}
    for condition, columns in zip(conditions, needed, strict=True):
        places = rows.select(condition.passes).to_series().arg_true()
        dropped[condition.name] = rows.height - len(places)
        rows = rows.select(_AT, *columns)[places]
    return rows, dropped


def root_names(expressions: Iterable[pl.Expr]) -> list[str]:
    """The columns that expressions look at, in alphabetical order."""
    return sorted({name for expression in expressions for name in expression.meta.root_names()})
