"""Numbers of a run's vectors that a page shows: how soon the mean settles, and which pictures are alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Convergence", "Histogram", "alike", "convergence", "histogram"]

_DRAWS, _POINTS, _SEED = 100, 24, 0
ENOUGH = 0.99  # the cosine from which a mean counts as the same taste
_BLOCK = 1000  # rows compared with all others at a time


@dataclass(frozen=True)
class Convergence:
    """The cosine of the mean of n pictures to the mean of all: of the first n, and a 95 % band of any n.

    `enough` is the least of these n from which on the band stays above ENOUGH.
    """

    counts: tuple[int, ...]
    first: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    enough: int | None


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width: of all values, and of the chosen ones."""

    edges: tuple[float, ...]
    all: tuple[int, ...]
    chosen: tuple[int, ...]


def convergence(units: NDArray[np.float32]) -> Convergence | None:
    """How soon the mean of unit vectors float32 [N, D], best first, settles; None for fewer than four.

    The band is of n pictures drawn with replacement from all, 100 times (bootstrap).
    """
    if len(units) < 4:
        return None
    total = len(units)
    counts = sorted({round(float(each)) for each in np.geomspace(1, total, _POINTS)})
    sums = np.cumsum(units, axis=0, dtype=np.float64)[np.array(counts) - 1]
    final = sums[-1] / np.linalg.norm(sums[-1])
    rng = np.random.default_rng(_SEED)
    bands = [np.percentile(_drawn(units, count, final, rng), [2.5, 97.5]) for count in counts]
    first = sums @ final / np.linalg.norm(sums, axis=1)
    low, high = ([float(band[side]) for band in bands] for side in (0, 1))
    below = [place for place, each in enumerate(low) if each < ENOUGH]
    settled = below[-1] + 1 if below else 0
    enough = counts[settled] if settled < len(counts) else None
    return Convergence(tuple(counts), tuple(map(float, first)), tuple(low), tuple(high), enough)


def _drawn(
    units: NDArray[np.float32], count: int, final: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The cosines of means of `count` vectors drawn anew to `final` [D], as many as DRAWS."""
    times = np.stack(
        [np.bincount(rng.integers(len(units), size=count), minlength=len(units)) for _ in range(_DRAWS)]
    )
    means = (times.astype(np.float32) @ units).astype(np.float64)
    cosines: NDArray[np.float64] = means @ final / np.maximum(np.linalg.norm(means, axis=1), 1e-30)
    return cosines


def alike(units: NDArray[np.float32], most: int) -> list[tuple[int, int, float]]:
    """The pairs of unit vectors with the highest cosines, each vector in one pair at most: i < j, cosine."""
    found: list[tuple[float, int, int]] = []
    for begin in range(0, len(units), _BLOCK):
        cosines = units[begin : begin + _BLOCK] @ units.T
        numbers = np.arange(begin, begin + len(cosines))
        cosines[np.arange(len(cosines))[:, None] * 0 + numbers[:, None] >= np.arange(len(units))] = -2
        nearest = np.argmax(cosines, axis=1)
        best = cosines[np.arange(len(cosines)), nearest]
        found += [
            (-float(each), int(i), int(j))
            for each, i, j in zip(best, numbers, nearest, strict=True)
            if each > -2
        ]
    pairs, used = list[tuple[int, int, float]](), set[int]()
    for cosine, i, j in sorted(found):
        if len(pairs) == most:
            break
        if not used & {i, j}:
            used |= {i, j}
            pairs.append((i, j, -cosine))
    return pairs


def histogram(
    values: Sequence[float | None], chosen: Sequence[float | None], bins: int = 32
) -> Histogram | None:
    """Both in the same bins; None where no value is a finite number."""
    every, some = (_finite(each) for each in (values, chosen))
    if not len(every):
        return None
    edges = np.histogram_bin_edges(every, bins=bins if every.min() < every.max() else 1)
    counts = [np.histogram(each, edges)[0].tolist() for each in (every, some)]
    return Histogram(tuple(edges.tolist()), tuple(counts[0]), tuple(counts[1]))


def _finite(values: Sequence[float | None]) -> NDArray[np.float64]:
    numbers = np.array([np.nan if each is None else each for each in values], dtype=np.float64)
    return numbers[np.isfinite(numbers)]
