"""What can be done with finished embeddings: compare two, mix several, and keep the mixture."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import require

from .artefact import Embedding, require_replaceable, save
from .errors import EmbeddingError
from .made_of import image_norm, is_contrast, of_mixture
from .space import require_one_space, space_of


def compare(a: Embedding, b: Embedding) -> float:
    """The cosine of two embeddings, in float64. Raises EmbeddingError when they are of different models."""
    _same_space([a, b])
    return float(np.clip((a.unit * b.unit).sum(), -1, 1))


def mix(parts: Iterable[tuple[Embedding, float]]) -> NDArray[np.float32]:
    """The weighted sum of the embeddings' directions, normalised, float32 [1, D].

    Each is normalised first, as the norms of published embeddings differ thirtyfold and mean nothing; a
    negative weight leads away from one. Raises EmbeddingError when models differ or the parts cancel out.
    """
    require(parts, "parts", Iterable, "a list of pairs (embedding, weight)", EmbeddingError)
    given = [_part(each) for each in parts]
    if not given:
        raise EmbeddingError("there is nothing to mix; name at least one embedding")
    if not all(np.isfinite(weight) for _, weight in given):
        raise EmbeddingError("a weight must be a finite number")
    _same_space([embedding for embedding, _ in given])
    total = np.sum([weight * embedding.unit for embedding, weight in given], axis=0)
    norm = np.linalg.norm(total)
    if norm < 1e-9:
        raise EmbeddingError("the parts cancel each other out, so there is no direction; change the weights")
    return (total / norm).astype(np.float32)


def save_mix(path: Path, parts: Sequence[tuple[Embedding, float]], *, overwrite: bool = False) -> Embedding:
    """Mix as `mix` does, and write it to `path` with what it was made of and the weights in `mixed_from`,
    and how long its images' vectors are where all of its parts say so.

    Raises EmbeddingError, also where `path` holds something else than an embedding of ours.
    """
    require_replaceable(path, overwrite=overwrite)
    made = mix(parts)
    norm, contrast = of_mixture([(image_norm(each), is_contrast(each)) for each, _ in parts])
    space = next((space for each, _ in parts if (space := space_of(each))), None)
    said: dict[str, Any] = {"model": space.as_model()} if space else {}
    said |= {"checks": {"image_norm": norm}} if norm else {}
    said |= {"reduction": "contrast"} if contrast else {}
    return save(path, made, {"mixed_from": [{**each.as_dict(), "weight": of} for each, of in parts], **said})


def _part(given: object) -> tuple[Embedding, float]:
    """A pair (embedding, weight); raises EmbeddingError for what is none."""
    require(given, "each part", (tuple, list), "a pair (embedding, weight)", EmbeddingError)
    if len(pair := list(cast("Sequence[object]", given))) != 2:
        raise EmbeddingError(f"a part of a mix has {len(pair)} values: give pairs (embedding, weight)")
    require(pair[1], "a weight", (int, float, np.number), "a number", EmbeddingError)
    return cast("tuple[Embedding, float]", (pair[0], pair[1]))


def _same_space(embeddings: list[Embedding]) -> None:
    for each in embeddings:
        require(each, "an embedding", Embedding, "what load() or find() returns", EmbeddingError)
    first = embeddings[0]
    for other in embeddings[1:]:
        if other.dimension != first.dimension:
            raise EmbeddingError(
                f"{first.name} has {first.dimension} dimensions and {other.name} {other.dimension}: "
                "they come from different image towers and cannot be put together"
            )
    require_one_space((each.name, space_of(each)) for each in embeddings)
