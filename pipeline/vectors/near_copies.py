"""Which of ranked vectors are near copies of better ones: the greedy choice, in rank order.

A vector is kept unless its cosine with one kept before it reaches the threshold. Which threshold tells a copy
from another picture is a matter of the encoder: about 0.95 for CLIP ViT-L/14.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["KEPT", "NOT_ADMITTED", "NOT_REACHED", "near_copies"]

KEPT, NOT_ADMITTED, NOT_REACHED = -1, -2, -3
_BLOCK = 1024  # vectors compared at a time with all that are kept, and with one another
_CLOSE = 5e-6  # of a threshold: float32 sums of 768 products are right to about 1e-6

Units = NDArray[np.float32]


def near_copies(
    units: Units, threshold: float, wanted: int | None = None, admits: Callable[[int], bool] | None = None
) -> NDArray[np.int64]:
    """Of each unit vector float32 [n, D], best first: KEPT, or the place of the kept one it is a copy of.

    Once `wanted` (None: all) are kept, the rest is NOT_REACHED. `admits` is asked of the place of each that
    is no copy, in order, and may turn it down (NOT_ADMITTED). The cosine is that of float64, so that the
    answer is the same whatever the blocks.
    """
    most = len(units) if wanted is None else min(wanted, len(units))
    fate = np.full(len(units), NOT_REACHED, np.int64)
    kept = np.empty(most, np.int64)
    count = 0
    for begin in range(0, len(units), _BLOCK):
        block = units[begin : begin + _BLOCK]
        before = _first_copied(block, units, kept[:count], threshold)
        within = _reaches(block, block, threshold)
        fresh = np.zeros(len(block), np.bool_)  # kept, of the block
        for at in range(len(block)):
            if count == most:
                return fate
            place = begin + at
            earlier = np.flatnonzero(within[at] & fresh)
            fate[place] = begin + earlier[0] if before[at] < 0 and len(earlier) else before[at]
            if fate[place] == KEPT and admits is not None and not admits(place):
                fate[place] = NOT_ADMITTED
            if fate[place] == KEPT:
                kept[count] = place
                fresh[at] = True
                count += 1
    return fate


def _first_copied(block: Units, units: Units, kept: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """For each of a block the place of the first kept vector that it is a copy of; KEPT where none is."""
    found = np.full(len(block), KEPT, np.int64)
    for begin in range(0, len(kept), _BLOCK):
        places = kept[begin : begin + _BLOCK]
        reached = _reaches(block, units[places], threshold)
        new = (found == KEPT) & reached.any(axis=1)
        found[new] = places[np.argmax(reached[new], axis=1)]
    return found


def _reaches(rows: Units, others: Units, threshold: float) -> NDArray[np.bool_]:
    """Whether the cosine of each row with each other reaches the threshold; close calls in float64."""
    cosines = rows @ others.T
    reached: NDArray[np.bool_] = cosines >= threshold
    close, with_ = np.nonzero(np.abs(cosines - threshold) < _CLOSE)
    for begin in range(0, len(close), _BLOCK):
        a, b = close[begin : begin + _BLOCK], with_[begin : begin + _BLOCK]
        exact = np.einsum("nd,nd->n", rows[a].astype(np.float64), others[b].astype(np.float64))
        reached[a, b] = exact >= threshold
    return reached
