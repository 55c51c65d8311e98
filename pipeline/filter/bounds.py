"""What bounds the memory that reading takes: rows in pieces, and the lowest score that a row still needs.

A file may hold one long text for all of its rows: that is small as it is read, and endless once it is copied.
What scores too low to be selected is dropped early.
"""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from polars._typing import PolarsDataType

__all__ = ["PIECE", "SCORE", "ScoreBound", "bytes_of", "heaviest", "pieces"]

SCORE = "__score__"  # the column of scores, Float64
PIECE = 128 << 20  # bytes


class ScoreBound:
    """The `most` best scores so far of the rows that passed. May be used from several threads.

    The rows that `keep` gives back are, in whatever order they come, a superset of the `most` best.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._best: NDArray[np.float64] = np.empty(0)  # once there are `most`, the lowest comes first
        self._lock = threading.Lock()

    @property
    def least(self) -> float | None:
        """The lowest of the `most` best scores so far; None while there are fewer: every row is kept."""
        return float(self._best[0]) if len(self._best) == self.most else None

    def keep(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows, with a column SCORE, that are among the `most` best so far."""
        scores = rows[SCORE].to_numpy()  # null becomes NaN, which is no higher than anything
        with self._lock:
            bound = -np.inf if self.least is None else self.least
            best = np.concatenate([self._best, scores[scores >= bound]])
            if (beyond := len(best) - self.most) >= 0:
                best = np.partition(best, beyond)[beyond:]
            self._best = best
            least = self.least
        return rows if least is None else rows[np.flatnonzero(scores >= least)]


def pieces(rows: pl.DataFrame, most: int = PIECE) -> Iterator[pl.DataFrame]:
    """The rows in order, in pieces of at most so many bytes or of one row; at least one piece."""
    sizes = np.cumsum(bytes_of(rows).to_numpy())
    start = 0
    while start < rows.height and int(sizes[-1]) > most:
        before = int(sizes[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(sizes, before + most, "right")))
        yield rows[start:end]
        start = end
    if start < rows.height or not start:
        yield rows


def bytes_of(rows: pl.DataFrame) -> pl.Series:
    """Int64 [n]: the bytes of each row's texts, blobs and lists, each counted as if it were its own."""
    sizes = [size for name, kind in rows.schema.items() if (size := _size(pl.col(name), kind)) is not None]
    return rows.select(pl.sum_horizontal([pl.repeat(0, pl.len(), dtype=pl.Int64), *sizes])).to_series()


def heaviest(rows: pl.DataFrame) -> str:
    """The column that takes the most bytes."""
    return max(rows.columns, key=lambda name: int(bytes_of(rows.select(name)).sum()))


def _size(values: pl.Expr, kind: pl.DataType) -> pl.Expr | None:
    """The bytes of each value; None for types of which every value is small."""
    if isinstance(kind, pl.Array):
        values, kind = values.arr.to_list(), pl.List(kind.inner)
    if isinstance(kind, pl.String):
        return _count(values.str.len_bytes())
    if isinstance(kind, pl.Categorical | pl.Enum):
        return _count(values.cat.len_bytes())
    if isinstance(kind, pl.Binary):
        return _count(values.bin.size())
    if isinstance(kind, pl.Struct):
        fields = (_size(values.struct.field(each.name), _made(each.dtype)) for each in kind.fields)
        sizes = [size for size in fields if size is not None]
        return pl.sum_horizontal(sizes) if sizes else None
    if isinstance(kind, pl.List):
        inner = _size(pl.element(), _made(kind.inner))
        own = _count(values.list.len()) * 8
        return own if inner is None else own + _count(values.list.eval(inner).list.sum())
    return None


def _count(sizes: pl.Expr) -> pl.Expr:
    return sizes.cast(pl.Int64).fill_null(0)


def _made(kind: "PolarsDataType") -> pl.DataType:
    return kind if isinstance(kind, pl.DataType) else kind()
