"""The best of several images: those nearest a taste, by the image encoder of the taste's own CLIP.

So a taste acts on any model, also on one whose text encoder it cannot move.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from .settings import Settings

if TYPE_CHECKING:
    from PIL import Image

    from visunex.clip import ImageEncoder

__all__ = ["Nearness", "candidates", "nearest_of"]

Item = TypeVar("Item")
Prompts = str | tuple[str, ...]


def candidates(prompts: Prompts, settings: Settings, count: int) -> tuple[Prompts, Settings]:
    """The run that has `count` images, which follow one another, for each image of the run asked for."""
    if isinstance(prompts, str):
        return prompts, replace(settings, iterations=settings.iterations * count)
    return tuple(prompt for prompt in prompts for _ in range(count)), settings


def nearest_of(
    batches: Iterable[Sequence[Item]], cosines_of: Callable[[Sequence[Item]], Sequence[float]], count: int
) -> Iterator[list[tuple[Item, tuple[float, ...]]]]:
    """For each batch those items that are chosen by then, each with the cosines of the `count` it is of.

    Of each `count` that follow one another the one with the largest cosine, of equals the first. No more
    than one batch and one item are held.
    """
    cosines: list[float] = []
    for batch in batches:
        chosen = []
        for item, cosine in zip(batch, cosines_of(batch), strict=True):
            if not cosines or cosine > max(cosines):
                nearest = item
            cosines.append(cosine)
            if len(cosines) == count:
                chosen.append((nearest, tuple(cosines)))
                cosines = []
        yield chosen


@dataclass(frozen=True, eq=False)
class Nearness:
    """How near images lie to a vector of D numbers: the cosine, as `visunex-data rank` has it."""

    encoder: "ImageEncoder"
    vector: NDArray[np.float32]

    def of(self, images: "Sequence[Image.Image]") -> tuple[float, ...]:
        """The cosine of each RGB image, -1 to 1."""
        how = self.encoder.preprocessing
        staged = self.encoder.stage([how.seen_image(image) for image in images])
        units = _unit(self.encoder.vectors(staged).astype(np.float64))
        return tuple(map(float, units @ _unit(self.vector.astype(np.float64).reshape(-1))))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """At length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
