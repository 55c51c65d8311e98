"""Figures by which a person sees whether an embedding is sound, and whether it is the published one."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import Embedding, EmbeddingError, catalogue, compare, find, find_published
from visunex.aesthetic_embeddings.space import require_one_space, space_of, space_said
from visunex.aesthetic_embeddings.sums import Sum
from visunex.base.files import sha256_file

from ..errors import EncodeError
from .bootstrap import Sums, block_sums, cosine_interval

if TYPE_CHECKING:
    from visunex.recipes.schema import Reduction, Reference

    from ..vectors.store import VectorFolder

__all__ = ["Checks", "ReferenceCheck", "check", "check_reference", "mean_norm", "norm_of"]

_JSON_KEYS = {"downloaded": "had"}  # as report.json and embedding.json have had it from the first


@dataclass(frozen=True)
class ReferenceCheck:
    """How the embedding compares to the published one that its recipe names; `note` says why it could not.

    `low` and `high` bound 95 % of the cosines when the images are drawn again: how much it is expected to
    matter which of the wanted ones were downloaded.
    """

    name: str
    cosine: float | None = None
    largest_difference: float | None = None
    tolerance: float | None = None
    note: str = ""
    low: float | None = None
    high: float | None = None
    downloaded: int | None = None
    wanted: int | None = None

    @property
    def reproduced(self) -> bool | None:
        """Whether the difference keeps to the tolerance; None where either is unknown."""
        if self.largest_difference is None or self.tolerance is None:
            return None
        return self.largest_difference <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """The comparison for JSON."""
        return {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}

    def lines(self) -> list[str]:
        """The comparison for a person."""
        count = "" if self.wanted is None else f", {self.downloaded:,} of the {self.wanted:,} wanted images"
        count += " were had" if count else ""
        if self.cosine is None:
            return [f"  not compared to {self.name}: {self.note}{count}"]
        return [f"  cosine {self.cosine:.6f} to the published {self.name}{count}", *self._verdicts()]

    def _verdicts(self) -> list[str]:
        lines = []
        if self.low is not None and self.high is not None:
            lines.append(
                f"  drawing images again, 95 % of the cosines lie in {self.low:.4f} to {self.high:.4f}"
            )
        if self.reproduced is not None:
            verdict = "reproduced" if self.reproduced else "NOT reproduced"
            lines.append(
                f"  {verdict}: differs by at most {self.largest_difference:.2g} ({self.tolerance:g})"
            )
        return lines

    def require_reproduced(self) -> None:
        """Raise EncodeError when the recipe names a tolerance that the result does not keep to."""
        if self.reproduced is False:
            raise EncodeError(
                f"the result differs from the published {self.name} by up to {self.largest_difference:.3g}, "
                f"more than the recipe's tolerance of {self.tolerance:g}; everything is kept"
            )


@dataclass(frozen=True)
class Checks:
    """Figures by which a person sees whether an embedding is sound.

    `norm` is the embedding's length. `mean_pairwise_cosine` is the mean over all pairs of different images:
    near 1 where all images are alike, None for a single image. `image_norm` is the mean length of the images'
    own raw vectors, which models that take an image's vector need; None where it is not recorded.
    """

    norm: float
    mean_pairwise_cosine: float | None
    reference: ReferenceCheck | None = None
    image_norm: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures for JSON."""
        reference = None if self.reference is None else self.reference.as_dict()
        return {**asdict(self), "reference": reference}


def check(
    vector: NDArray[np.float32],
    vectors: "VectorFolder",
    reduction: "Reduction",
    reference: "Reference | None" = None,
    *,
    baseline: "VectorFolder | None" = None,
    wanted: int | None = None,
    model: Mapping[str, Any] | None = None,
) -> Checks:
    """The figures for an embedding float32 [1, D] that was made of `vectors`.

    `baseline` is what a contrast was made against, `wanted` how many images the recipe asks for,
    `model` whose vectors they are.
    """
    compared = None
    if reference is not None:
        compared = replace(check_reference(vector, reference, model), downloaded=len(vectors), wanted=wanted)
        if compared.cosine is not None:
            low, high = _interval(vectors, reduction, reference, baseline) or (None, None)
            compared = replace(compared, low=low, high=high)
    return Checks(norm_of(vector), _mean_pairwise_cosine(vectors), compared, mean_norm(vectors.norms()))


def mean_norm(norms: NDArray[np.float64]) -> float | None:
    """The mean of raw lengths float64 [n]; None where some or all are not recorded."""
    return math.fsum(norms) / len(norms) if len(norms) and np.isfinite(norms).all() else None


def norm_of(vector: NDArray[np.float32]) -> float:
    """The length of a vector, computed in float64."""
    return float(np.linalg.norm(vector.astype(np.float64)))


def check_reference(
    vector: NDArray[np.float32], reference: "Reference", model: Mapping[str, Any] | None = None
) -> ReferenceCheck:
    """The comparison of an embedding float32 [1, D] with the published one, or why there is none.

    `model` (name, pretrained, weights) is whose vectors the embedding was made of.
    """
    made = Embedding("this embedding", vector)
    try:
        published = _published(reference)
        require_one_space([(published.name, space_of(published)), ("this embedding", space_said(model))])
        cosine = compare(made, published)
    except EmbeddingError as error:
        return ReferenceCheck(reference.name, tolerance=reference.tolerance, note=str(error))
    difference = float(np.abs(published.vector.astype(np.float64) - vector).max())
    return ReferenceCheck(reference.name, cosine, difference, reference.tolerance)


def _published(reference: "Reference") -> Embedding:
    """The file that was published, and not a run of the same name."""
    named = reference.name in catalogue()
    published = find_published(reference.name) if named else find(reference.name)
    _require_same_file(published.path, reference)
    return published


def _require_same_file(path: Path | None, reference: "Reference") -> None:
    if reference.sha256 and path is not None and sha256_file(path) != reference.sha256:
        raise EmbeddingError(
            f"{path} is another file than the {reference.name} that the recipe names by its SHA-256"
        )


def _interval(
    vectors: "VectorFolder", reduction: "Reduction", reference: "Reference", baseline: "VectorFolder | None"
) -> tuple[float, float] | None:
    """The interval of the cosine; the median has none: each draw would take as long as the embedding.

    Nor has what is drawn apart by scores: weights that sum to zero have no mean to draw again.
    """
    own = None if reduction in ("median", "score-contrast") else _sums(vectors, reduction)
    if own is None:
        return None
    other = None if baseline is None else block_sums(baseline.units(), len(baseline))
    return cosine_interval(own, _published(reference).vector.astype(np.float64), other)


def _sums(vectors: "VectorFolder", reduction: "Reduction") -> Sums | None:
    """The vectors summed by block, weighted as the reduction weights them."""
    scores = vectors.scores() if reduction == "score-weighted" else None
    weights = None if scores is None or not np.ptp(scores) else scores - scores.min()
    return block_sums(vectors.raw() if reduction == "mean" else vectors.units(), len(vectors), weights)


def _mean_pairwise_cosine(vectors: "VectorFolder") -> float | None:
    """|sum of units|^2 = n + the cosines of all ordered pairs, so no pair has to be looked at."""
    total, count = None, 0
    for batch in vectors.units():
        total = total or Sum(batch.shape[1])
        total.add(batch.astype(np.float64))
        count += len(batch)
    if total is None or count < 2:
        return None
    return float((np.square(total.value()).sum() - count) / (count * (count - 1)))
