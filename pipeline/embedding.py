"""Image vectors -> `embedding.pt`, what was checked of it, and `embedding.json` that says how it was made."""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import Embedding, EmbeddingError, compare, find, reduce
from visunex.aesthetic_embeddings.sums import Sum
from visunex.base.files import fingerprint, sha256_file

from .vectors import VectorFolder

if TYPE_CHECKING:
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Reduction, Reference

    from .clip import ImageEncoder

_LIBRARIES = ("visunex", "torch", "open_clip_torch", "pillow", "numpy")


@dataclass(frozen=True)
class ReferenceCheck:
    """How the embedding compares to the published one that its recipe names; `note` says why it could not."""

    name: str
    cosine: float | None = None
    largest_difference: float | None = None
    tolerance: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Checks:
    """Figures by which a person sees whether an embedding is sound.

    `mean_pairwise_cosine` is the mean over all pairs of different images: near 1 for pictures all alike, None
    for a single picture.
    """

    norm: float
    mean_pairwise_cosine: float | None
    reference: ReferenceCheck | None = None


def reduce_folder(
    vectors: VectorFolder, how: "Reduction", baseline: VectorFolder | None = None
) -> NDArray[np.float32]:
    """The vectors of a folder reduced to float32 [1, D]; see `visunex.aesthetic_embeddings.reduce`."""
    return reduce(
        vectors.raw() if how == "mean" else vectors.units(),
        how,
        scores=vectors.scores() if how == "score-weighted" else None,
        baseline=baseline.units() if baseline is not None else None,
    )


def check(vector: NDArray[np.float32], vectors: VectorFolder, reference: "Reference | None") -> Checks:
    """The figures for an embedding made of `vectors`."""
    return Checks(
        norm=float(np.linalg.norm(vector.astype(np.float64))),
        mean_pairwise_cosine=_mean_pairwise_cosine(vectors),
        reference=None if reference is None else _check_reference(vector, reference),
    )


def provenance(
    recipe: "Recipe",
    encoder: "ImageEncoder",
    checks: Checks,
    *,
    images: Mapping[str, Any],
    places: list[str],
) -> dict[str, Any]:
    """What `embedding.json` says; nothing in it changes when the same is made again on the same machine."""
    return {
        "recipe": recipe.name,
        "recipe_hash": fingerprint(recipe.model_dump(mode="json")),
        "source": recipe.source.data if not places else None,
        "pictures": places or None,
        "model": {
            "name": encoder.model,
            "pretrained": encoder.pretrained or None,
            "dimension": encoder.dimension,
            "precision": encoder.precision,
            "device": encoder.device,
            **encoder.identity(),
        },
        "reduction": recipe.encode.reduce,
        "baseline": recipe.encode.baseline,
        "images": dict(images),
        "checks": asdict(checks),
        "libraries": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
    }


def _mean_pairwise_cosine(vectors: VectorFolder) -> float | None:
    """|sum of units|^2 = n + the cosines of all ordered pairs, so no pair has to be looked at."""
    total, count = None, 0
    for batch in vectors.units():
        total = total or Sum(batch.shape[1])
        total.add(batch.astype(np.float64))
        count += len(batch)
    if total is None or count < 2:
        return None
    return float((np.square(total.value()).sum() - count) / (count * (count - 1)))


def _check_reference(vector: NDArray[np.float32], reference: "Reference") -> ReferenceCheck:
    made = Embedding("this embedding", vector)
    try:
        published = find(reference.name)
        _same_file(published.path, reference)
        cosine = compare(made, published)
    except EmbeddingError as error:
        return ReferenceCheck(reference.name, tolerance=reference.tolerance, note=str(error))
    difference = float(np.abs(published.vector.astype(np.float64) - vector).max())
    return ReferenceCheck(reference.name, cosine, difference, reference.tolerance)


def _same_file(path: Path | None, reference: "Reference") -> None:
    if reference.sha256 and path is not None and sha256_file(path) != reference.sha256:
        raise EmbeddingError(
            f"{path} is another file than the {reference.name} that the recipe names by its SHA-256"
        )
