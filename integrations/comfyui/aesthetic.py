"""What the nodes hand on: an aesthetic embedding, which may be a mixture, with what it says of itself."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from visunex.aesthetic_embeddings import Embedding, find, mix, save, save_mix
from visunex.aesthetic_embeddings.made_of import of_mixture
from visunex.generate import Taste
from visunex.generate.adapters import image_vector

__all__ = ["Aesthetic"]

Parts = tuple[tuple[Embedding, float], ...]


@dataclass(frozen=True)
class Aesthetic:
    """A taste, and the embeddings and weights that it is mixed of: one, where it is no mixture.

    `others` are the same taste by further encoders, in the order of `taste.others`.
    """

    taste: Taste
    parts: Parts
    others: "tuple[Aesthetic, ...]" = ()

    @classmethod
    def load(cls, name: str) -> "Aesthetic":
        """The embedding called so: a name, a file, or a run's folder. Raises EmbeddingError."""
        taste = Taste.load(name)
        others = tuple(cls(each, ((find(each.name), 1.0),)) for each in taste.others)
        return cls(taste, ((find(name), 1.0),), others)

    @classmethod
    def mix(cls, *given: "tuple[Aesthetic, float]") -> "Aesthetic":
        """The weighted sum of their directions, and of what both have by a further encoder.

        Raises EmbeddingError for embeddings of two models, or where nothing is left of the sum.
        """
        (first, weight), *rest = given
        others = tuple(
            cls.mix((other, weight), *((same, each_weight) for same, each_weight in found))
            for other in first.others
            if len(found := [pair for each, by in rest for pair in _same(each, other, by)]) == len(rest)
        )
        parts = tuple((part, by * of / each.length) for each, by in given for part, of in each.parts)
        return cls(replace(_mixed(parts, given), others=tuple(each.taste for each in others)), parts, others)

    @property
    def length(self) -> float:
        """Of the weighted sum of its parts' directions, before it is normalised."""
        return float(np.linalg.norm(sum(weight * embedding.unit for embedding, weight in self.parts)))

    def save(self, path: Path) -> None:
        """Write it as `NAME.pt` and `NAME.json`. Raises EmbeddingError."""
        if len(self.parts) > 1:
            save_mix(path, self.parts)
        else:
            found = self.parts[0][0]
            save(path, found.vector, found.provenance or {"copied_from": found.as_dict()})

    def as_image(self, length: float | None) -> Any:
        """The vector `[1, D]` at one image's length. Raises UsageError for a contrast, or no length."""
        size = self.taste.embedding.shape[-1]
        return image_vector(self.taste, size, wanted_by="this", length=length).image()


def _same(given: Aesthetic, other: Aesthetic, weight: float) -> list[tuple[Aesthetic, float]]:
    """What an aesthetic has by the encoder of `other`, with its weight: one, or none."""
    return [(each, weight) for each in given.others if each.taste.space == other.taste.space][:1]


def _mixed(parts: Parts, given: tuple[tuple[Aesthetic, float], ...]) -> Taste:
    """The mixture as a taste: as long as its parts' images, a contrast where all parts are."""
    import torch

    tastes = [each.taste for each, _ in given]
    norm, contrast = of_mixture([(taste.image_norm, taste.is_contrast) for taste in tastes])
    return Taste(
        " + ".join(f"{weight:g} {embedding.name}" for embedding, weight in parts),
        torch.from_numpy(mix(parts)),
        space=next((taste.space for taste in tastes if taste.space), None),
        image_norm=norm,
        is_contrast=contrast,
    )
