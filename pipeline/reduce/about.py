"""What an embedding is about, in words, and the groups of its images: is it one taste, or several?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .groups import Groups, group_vectors, write_groups
from .nearest_words import Word, WordVectors, words_of

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder

    from ..vectors.store import VectorFolder

__all__ = ["About", "GroupWords", "about"]


@dataclass(frozen=True)
class GroupWords:
    """A group by its number, how many images are in it, and the words nearest to its centre."""

    group: int
    images: int
    words: tuple[Word, ...]


@dataclass(frozen=True)
class About:
    """The words nearest to an embedding, and to each group of its images, the largest first."""

    words: tuple[Word, ...]
    groups: tuple[GroupWords, ...] = ()


def about(
    vector: NDArray[np.float32],
    vectors: "VectorFolder",
    image_encoder: "ImageEncoder",
    groups_path: Path | None,
) -> About:
    """What an embedding [1, D] of `vectors` is about, by the model's text encoder.

    There are no words where the model has no text encoder here, or the images no captions. The group of
    each image is written to `groups_path`; without one, no groups are looked for.
    """
    words = words_of(vectors, image_encoder)
    groups = None if groups_path is None else _written(vectors, groups_path)
    nearest = () if words is None else words.nearest(vector)
    return About(nearest, () if groups is None else _described(groups, words))


def _written(vectors: "VectorFolder", path: Path) -> Groups | None:
    """The groups; of so few images that there are none, no file is left."""
    groups = group_vectors(vectors)
    if groups is None:
        path.unlink(missing_ok=True)
    else:
        write_groups(path, _keys(vectors), groups)
    return groups


def _keys(vectors: "VectorFolder") -> list[str]:
    """What each vector's image is called, as the page and `curate` call it."""
    import pyarrow.parquet as pq

    found = list[str]()
    for part in vectors.parts:
        if part.metadata is not None:
            skipped = set(part.skipped)
            keys = pq.ParquetFile(part.metadata).read(["key"])["key"].to_pylist()
            found += [key for row, key in enumerate(keys) if row not in skipped]
    return found


def _described(groups: Groups, words: WordVectors | None) -> tuple[GroupWords, ...]:
    sizes = np.bincount(groups.of, minlength=len(groups.centres)).tolist()
    return tuple(
        GroupWords(number, size, () if words is None else words.nearest(centre))
        for number, (size, centre) in enumerate(zip(sizes, groups.centres, strict=True))
    )
