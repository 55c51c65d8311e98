"""A run's exemplars: of each group of its pictures the one that is most like the others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..reduce.groups import group_vectors
from ..score.rows import rows_of
from ..vectors.subset import only
from .curation import opened

if TYPE_CHECKING:
    from ..vectors.store import VectorFolder

__all__ = ["Exemplar", "exemplars"]


@dataclass(frozen=True)
class Exemplar:
    """The medoid of a group of so many `images`: of the largest mean cosine to its others, which is `cosine`.

    `where` is that of its sample.
    """

    where: str
    group: int
    images: int
    cosine: float


def exemplars(what: str, count: int) -> list[Exemplar]:
    """The exemplars of `count` groups of a run's pictures that count, the largest group first.

    There are fewer where there are fewer pictures, or groups that are told apart. Raises UsageError for what
    is no run with vectors; EncodeError.
    """
    found = opened(what)
    vectors = only(found.vectors, found.counted)
    names = rows_of(vectors)["image_path"].to_pylist()
    return [
        Exemplar(str(names[at]), group, images, cosine)
        for group, (at, images, cosine) in enumerate(_medoids(vectors, count))
    ]


def _medoids(vectors: "VectorFolder", count: int) -> list[tuple[int, int, float]]:
    """Of each group the medoid's place, how many are in it, and the medoid's mean cosine to the others.

    The sum of a unit vector's cosines to others is its product with the sum of them: no pair is looked at.
    """
    groups = group_vectors(vectors, count)
    if groups is None:  # for the type checker: so it is without a count
        return []
    sizes = np.bincount(groups.of, minlength=len(groups.centres))
    sums = np.zeros(groups.centres.shape, np.float64)
    begin = 0
    for batch in vectors.units():
        np.add.at(sums, groups.of[begin : begin + len(batch)], batch)
        begin += len(batch)
    best = np.full(len(sizes), -np.inf)
    places, begin = np.zeros(len(sizes), np.int64), 0
    for batch in vectors.units():
        mine = groups.of[begin : begin + len(batch)]
        cosines = np.einsum("ij,ij->i", batch.astype(np.float64), sums[mine]) - 1  # less its own
        for group in np.unique(mine).tolist():
            rows = np.flatnonzero(mine == group)
            first = rows[np.argmax(cosines[rows])]
            if cosines[first] > best[group]:
                best[group], places[group] = cosines[first], begin + first
        begin += len(batch)
    means = np.where(sizes > 1, best / np.maximum(sizes - 1, 1), 1.0)
    return list(zip(places.tolist(), sizes.tolist(), means.tolist(), strict=True))
