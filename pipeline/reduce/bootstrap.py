"""The interval that a cosine lies in when the images are drawn again: how much it matters which there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sums", "block_sums", "cosine_interval"]

DRAWS = 400
BLOCKS = 4096  # beyond so many images, those whose numbers differ by this are drawn together
_SEED = 0


@dataclass(frozen=True)
class Sums:
    """Vectors summed by block: `totals` [blocks, D], and the weight in each block [blocks]."""

    totals: NDArray[np.float64]
    weights: NDArray[np.float64]


def block_sums(
    batches: Iterable[NDArray[np.float32]], count: int, weights: Sequence[float] | None = None
) -> Sums | None:
    """The sums of `count` vectors float32 [n, D] in batches, each times its weight, in at most BLOCKS blocks.

    None where there are no vectors.
    """
    blocks, begin, totals = min(count, BLOCKS), 0, None
    each = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    summed = np.zeros(blocks)
    for batch in batches:
        totals = np.zeros((blocks, batch.shape[1])) if totals is None else totals
        place = np.arange(begin, begin + len(batch)) % blocks
        factors = each[begin : begin + len(batch)]
        np.add.at(totals, place, batch.astype(np.float64) * factors[:, None])
        np.add.at(summed, place, factors)
        begin += len(batch)
    return None if totals is None else Sums(totals, summed)


def cosine_interval(
    wanted: Sums, published: NDArray[np.float64], baseline: Sums | None = None
) -> tuple[float, float] | None:
    """The 95 % interval of the cosine of the mean of `wanted` (minus that of `baseline`) to `published` [D].

    The images are drawn anew DRAWS times, each as often as a Poisson number of mean 1 says, which comes to
    the same as drawing with replacement (Hanley & MacGibbon, Comput. Methods Programs Biomed. 83, 2006). The
    same vectors give the same interval. None for fewer than two images.
    """
    rng = np.random.default_rng(_SEED)
    means = _means(wanted, rng)
    if means is not None and baseline is not None:
        other = _means(baseline, rng)
        means = None if other is None else means - other
    if means is None:
        return None
    direction = published.reshape(-1) / np.linalg.norm(published)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = means @ direction / np.linalg.norm(means, axis=1)
    low, high = np.nanpercentile(cosines, [2.5, 97.5])
    return float(low), float(high)


def _means(sums: Sums, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """DRAWS means of images drawn anew, [DRAWS, D]; NaN where nothing was drawn."""
    if len(sums.weights) < 2:
        return None
    times = rng.poisson(1.0, (DRAWS, len(sums.weights))).astype(np.float64)
    drawn = times @ sums.weights
    drawn[drawn <= 0] = np.nan
    means: NDArray[np.float64] = times @ sums.totals / drawn[:, None]
    return means
