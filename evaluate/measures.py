"""What is measured of pictures, on unit vectors, a number for each; means over prompts, and their intervals.

An interval is where 95 % of the means lie when the prompts are drawn again (bootstrap).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Interval", "interval", "likeness", "means_by", "spread", "to_set", "unit"]

Floats = NDArray[np.float64]
DRAWS, SEED = 4000, 0
MIDDLE = (0.025, 0.975)


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Vectors `[..., D]` at length 1; one of length 0 stays."""
    wide = np.asarray(vectors, np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-30)


def likeness(images: Floats, direction: Floats) -> Floats:
    """The cosine of each image `[n, D]` to a direction, `[D]`, or to one each, `[n, D]`."""
    return np.einsum("nd,nd->n", unit(images), np.broadcast_to(unit(direction), images.shape))


def to_set(images: Floats, others: Floats) -> Floats:
    """The mean cosine of each image `[n, D]` to all of a set, `[m, D]`: CLIP-I."""
    return unit(images) @ unit(others).mean(axis=0)


def spread(images: Floats) -> Floats:
    """The mean cosine distance of each image `[n, D]` to the others; their mean is that of all pairs.

    NaN for a single image.
    """
    if len(images) < 2:
        return np.full(len(images), np.nan)
    units = unit(images)
    cosines = units @ units.sum(axis=0) - np.einsum("nd,nd->n", units, units)
    return 1 - cosines / (len(images) - 1)


@dataclass(frozen=True)
class Interval:
    """A mean, and the ends of its interval; of a single prompt there is none, and both ends are the mean."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    def as_list(self) -> list[float]:
        """`[mean, low, high]`, for JSON."""
        return [round(each, 6) for each in (self.mean, self.low, self.high)]


def interval(by_prompt: Floats) -> Interval | None:
    """The mean of one number a prompt, `[prompts]`; the same numbers give the same interval.

    What is no number does not count; None where nothing is left.
    """
    values = by_prompt[np.isfinite(by_prompt)]
    if not len(values):
        return None
    drawn = np.random.default_rng(SEED).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), MIDDLE)
    return Interval(float(values.mean()), float(low), float(high))


def means_by(prompts: NDArray[np.int64], values: Floats) -> Floats:
    """The mean of the values of each prompt, in the order of the prompts' numbers, `[prompts]`."""
    return np.array([values[prompts == each].mean() for each in np.unique(prompts)])
