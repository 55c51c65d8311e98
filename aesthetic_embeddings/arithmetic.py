"""What can be done with finished embeddings: compare two, mix several."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .artefact import Embedding
from .errors import EmbeddingError
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
    given = list(parts)
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


def _same_space(embeddings: list[Embedding]) -> None:
    first = embeddings[0]
    for other in embeddings[1:]:
        if other.dimension != first.dimension:
            raise EmbeddingError(
                f"{first.name} has {first.dimension} dimensions and {other.name} {other.dimension}: "
                "they come from different image towers and cannot be put together"
            )
    require_one_space((each.name, space_of(each)) for each in embeddings)
