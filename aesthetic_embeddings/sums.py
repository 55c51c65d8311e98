"""Sums of many vectors whose result does not depend on the order or the batches they come in."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class Sum:
    """A running sum of float64 vectors [D] carried in two float64 parts, about 106 bits together.

    Plain float64 sums differ in their last bits with the order of the terms, and then now and then in the
    last bit after rounding to float32. With the rounding errors carried along (Knuth's two-sum) they do not.
    """

    def __init__(self, dimension: int) -> None:
        self._high = np.zeros(dimension)
        self._low = np.zeros(dimension)

    def add(self, rows: Matrix) -> None:
        """Add every row of `rows` [n, D]."""
        while len(rows) > 1:
            half = len(rows) // 2
            odd = rows[2 * half :]
            pairs, error = two_sum(rows[:half], rows[half : 2 * half])
            self._low += error.sum(axis=0)
            rows = np.concatenate([pairs, odd]) if len(odd) else pairs
        if len(rows):
            self._high, error = two_sum(self._high, rows[0])
            self._low += error

    def value(self) -> Matrix:
        """The sum so far, float64 [D]."""
        return self._high + self._low


def two_sum(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """a + b rounded, and exactly what the rounding lost (Knuth, TAOCP 2, 4.2.2, theorem B)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
