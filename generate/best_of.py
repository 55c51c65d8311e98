"""The best of several images: those nearest the tastes, by the image encoders of their own CLIPs.

So a taste acts on any model, also on one whose text encoder it cannot move.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from visunex.demo import TINY_MODEL

from .controls import Steering
from .errors import GenerateError, UsageError
from .settings import Settings
from .taste import Taste, space_named

if TYPE_CHECKING:
    from PIL import Image

    from visunex.aesthetic_embeddings.space import Space
    from visunex.clip import ImageEncoder

__all__ = ["Judges", "Nearness", "candidates", "nearest_of"]

Item = TypeVar("Item")
Prompts = str | tuple[str, ...]
NO_WORD = 768, "ViT-L-14:openai"  # the size that is read as OpenAI's where nothing says of which CLIP it is


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
    """How near images lie to tastes: each a vector of D numbers, with its CLIP's encoder and its weight."""

    tastes: "tuple[tuple[ImageEncoder, NDArray[np.float32], float], ...]"

    def of(self, images: "Sequence[Image.Image]") -> tuple[float, ...]:
        """The cosine of each RGB image, as `visunex-data rank` has it; of several tastes the mean by weight.

        A weight below 0 counts away from its taste, and of a taste of several vectors the nearest counts.
        """
        seen: dict[int, NDArray[np.float64]] = {}
        total, whole = np.zeros(len(images)), sum(abs(weight) for _, _, weight in self.tastes)
        for encoder, vector, weight in self.tastes:
            if id(encoder) not in seen:
                seen[id(encoder)] = _units(encoder, images)
            rows = _unit(vector.astype(np.float64).reshape(-1, vector.shape[-1]))
            total += weight / whole * np.max([seen[id(encoder)] @ row for row in rows], axis=0)
        return tuple(map(float, total))


def _units(encoder: "ImageEncoder", images: "Sequence[Image.Image]") -> NDArray[np.float64]:
    """The images' vectors float64 [n, D] at length 1."""
    staged = encoder.stage([encoder.preprocessing.seen_image(image) for image in images])
    return _unit(encoder.vectors(staged).astype(np.float64))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


class Judges:
    """The image encoders by which images drawn with `model` are compared with tastes, each loaded once."""

    def __init__(self, model: str, device: str = "auto") -> None:
        self.model, self.device = model, device
        self._loaded: dict[tuple[str, str], ImageEncoder] = {}

    def of(self, steering: Steering) -> Nearness:
        """What tells how near images lie to the tastes.

        Raises GenerateError for an encoder that cannot be had, UsageError for a taste that does not say of
        which CLIP it is, EmbeddingError for one of other weights than the encoder's.
        """
        pairs = ((self._encoder(taste), taste, weight) for taste, weight in steering.tastes)
        return Nearness(tuple((found, _vector(taste), weight) for found, taste, weight in pairs))

    def near(self, steering: Steering) -> "Callable[[Sequence[Image.Image]], tuple[float, ...]]":
        """The same as a function of images."""
        return self.of(steering).of

    def _encoder(self, taste: Taste) -> "ImageEncoder":
        from visunex.aesthetic_embeddings.space import Space, require_one_space

        space = self._space(taste)
        key = space.name, space.pretrained
        if key not in self._loaded:
            self._loaded[key] = _load(space, taste, self.device)
        found = self._loaded[key]
        mine = Space(space.name, space.pretrained, found.weights)
        require_one_space([(f"the image encoder {space.name}", mine), (taste.name, space)])
        if found.dimension != taste.embedding.shape[-1]:
            raise GenerateError(
                f"{taste.name} is 1x{taste.embedding.shape[-1]}, and pictures become 1x{found.dimension} by "
                f"{space}: name the embedding's own CLIP with --aesthetic_space"
            )
        return found

    def _space(self, taste: Taste) -> "Space":
        """The CLIP whose space a taste is in; the drawing model's for the tiny one, where nothing says so."""
        size, openai = NO_WORD
        assumed = openai if taste.embedding.shape[-1] == size else None
        if taste.space is None and self.model == TINY_MODEL:
            from visunex.aesthetic_embeddings.space import Space

            return Space(TINY_MODEL, "")
        found = taste.space or space_named(assumed)
        if found is None:
            raise UsageError(
                f"{taste.name} is 1x{taste.embedding.shape[-1]} and does not say of which CLIP, by whose "
                "image encoder --best-of compares pictures: name it with --aesthetic_space, as "
                "ViT-bigG-14:laion2b_s39b_b160k"
            )
        return found


def _load(space: "Space", taste: Taste, device: str) -> "ImageEncoder":
    from visunex.clip import ModelError, load_image_encoder

    try:
        return load_image_encoder(space.name, space.pretrained or "openai", device=device)
    except ModelError as error:
        raise GenerateError(
            f"--best-of compares pictures by the image encoder of {space}, the CLIP that {taste.name} is of, "
            f"and it cannot be had: {str(error).splitlines()[0]}"
        ) from None


def _vector(taste: Taste) -> NDArray[np.float32]:
    return np.asarray(taste.embedding.detach().cpu().float().numpy())
