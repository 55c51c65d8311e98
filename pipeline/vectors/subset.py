"""Some of a folder's vectors, as a folder of which the others are left out."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .store import VectorFolder

__all__ = ["only"]


def only(vectors: VectorFolder, chosen: NDArray[np.bool_]) -> VectorFolder:
    """The folder with the chosen ones of its vectors, `chosen` bool [n]."""
    parts, begin = [], 0
    for part in vectors.parts:
        rows = np.setdiff1d(np.arange(part.rows), part.skipped)
        mine = chosen[begin : begin + len(rows)]
        parts.append(replace(part, not_chosen=(*part.not_chosen, *rows[~mine].tolist())))
        begin += len(rows)
    scores = None if vectors.given_scores is None else vectors.given_scores[chosen]
    return replace(vectors, parts=tuple(parts), given_scores=scores)
