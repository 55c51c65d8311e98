"""The lowest score that a row still needs: what scores lower is dropped early, as it cannot be selected."""

import threading

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["SCORE", "ScoreBound"]

SCORE = "__score__"  # the column of scores, Float64


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
