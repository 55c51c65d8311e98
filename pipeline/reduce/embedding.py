"""Image vectors -> `embedding.pt`, what was checked of it, and `embedding.json` that says how it was made."""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import (
    Embedding,
    EmbeddingError,
    catalogue,
    compare,
    find,
    find_published,
    reduce,
    save,
)
from visunex.aesthetic_embeddings.sums import Sum
from visunex.base.files import fingerprint, sha256_file

from ..errors import EncodeError
from ..vectors.store import VectorFolder
from .bootstrap import block_sums, cosine_interval

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Reduction, Reference

    from ..rundir import RunDir

_LIBRARIES = ("visunex", "torch", "open_clip_torch", "pillow", "numpy")


@dataclass(frozen=True)
class ReferenceCheck:
    """How the embedding compares to the published one that its recipe names; `note` says why it could not.

    `low` and `high` bound 95 % of the cosines when the images are drawn again: how far it is expected to
    matter which of the wanted ones were had.
    """

    name: str
    cosine: float | None = None
    largest_difference: float | None = None
    tolerance: float | None = None
    note: str = ""
    low: float | None = None
    high: float | None = None
    had: int | None = None
    wanted: int | None = None

    @property
    def reproduced(self) -> bool | None:
        """Whether the difference keeps to the tolerance; None where either is unknown."""
        if self.largest_difference is None or self.tolerance is None:
            return None
        return self.largest_difference <= self.tolerance

    def lines(self) -> list[str]:
        """What a person reads."""
        had = "" if self.wanted is None else f", {self.had:,} of the {self.wanted:,} wanted images were had"
        if self.cosine is None:
            return [f"  not compared to {self.name}: {self.note}{had}"]
        lines = [f"  cosine {self.cosine:.6f} to the published {self.name}{had}"]
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

    `mean_pairwise_cosine` is the mean over all pairs of different images: near 1 for pictures all alike, None
    for a single picture.
    """

    norm: float
    mean_pairwise_cosine: float | None
    reference: ReferenceCheck | None = None


@dataclass(frozen=True)
class EmbeddingReport:
    """What is reported of an embedding, however it was made; subclasses say of what."""

    dimension: int
    reduction: str
    checks: Checks
    embedding: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return asdict(self)

    def outcome(self) -> list[str]:
        """The last lines of the report for a person: the embedding, and how it compares to the published."""
        made = f"{self.embedding}: 1x{self.dimension}, {self.reduction}, norm {self.checks.norm:.4g}"
        return [made, *(self.checks.reference.lines() if self.checks.reference else ())]

    def recorded(self, run: "RunDir | None") -> Self:
        """Itself, noted in the run. Raises EncodeError when the reference should be reproduced and is not."""
        if run is not None:
            run.record("encode", self.as_dict())
        if self.checks.reference is not None:
            self.checks.reference.require_reproduced()
        return self


def put(vector: NDArray[np.float32], story: Mapping[str, Any], run: "RunDir | None", out: Path | None) -> str:
    """Save the embedding in the run and at `out`; the path of the last."""
    targets = [path for path in (run.embedding if run else None, out) if path is not None]
    for target in targets:
        save(target, vector, story)
    return str(targets[-1])


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


def check(
    vector: NDArray[np.float32],
    vectors: VectorFolder,
    recipe: "Recipe",
    baseline: VectorFolder | None = None,
    wanted: int | None = None,
) -> Checks:
    """The figures for an embedding made of `vectors`; `wanted` is how many images the recipe asks for."""
    reference = None if recipe.reference is None else check_reference(vector, recipe.reference)
    if reference is not None and recipe.reference is not None:
        reference = replace(reference, had=len(vectors), wanted=wanted)
        if reference.cosine is not None:
            interval = _interval(vectors, recipe.encode.reduce, recipe.reference, baseline) or (None, None)
            reference = replace(reference, low=interval[0], high=interval[1])
    return Checks(
        norm=float(np.linalg.norm(vector.astype(np.float64))),
        mean_pairwise_cosine=_mean_pairwise_cosine(vectors),
        reference=reference,
    )


def _interval(
    vectors: VectorFolder, how: "Reduction", reference: "Reference", baseline: VectorFolder | None
) -> tuple[float, float] | None:
    """The cosine's interval. The median has none: each draw would take as long as the embedding itself."""
    if how == "median":
        return None
    scores = vectors.scores() if how == "score-weighted" else None
    weights = None if scores is None or not np.ptp(scores) else scores - scores.min()
    own = block_sums(vectors.raw() if how == "mean" else vectors.units(), len(vectors), weights)
    other = None if baseline is None else block_sums(baseline.units(), len(baseline))
    return (
        None if own is None else cosine_interval(own, _published(reference).vector.astype(np.float64), other)
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
            "resized_on": "device" if encoder.preprocessing.on_device else "host",
            **encoder.identity(),
        },
        "reduction": recipe.encode.reduce,
        "baseline": recipe.encode.baseline,
        "images": dict(images),
        "checks": asdict(checks),
        "libraries": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """What the numbers may depend on beside the recipe."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
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


def check_reference(vector: NDArray[np.float32], reference: "Reference") -> ReferenceCheck:
    """The comparison with the published embedding, or the note why there is none."""
    made = Embedding("this embedding", vector)
    try:
        published = _published(reference)
        cosine = compare(made, published)
    except EmbeddingError as error:
        return ReferenceCheck(reference.name, tolerance=reference.tolerance, note=str(error))
    difference = float(np.abs(published.vector.astype(np.float64) - vector).max())
    return ReferenceCheck(reference.name, cosine, difference, reference.tolerance)


def _published(reference: "Reference") -> Embedding:
    """The file that was published, and not a run of the same name."""
    named = reference.name in catalogue()
    published = find_published(reference.name) if named else find(reference.name)
    _same_file(published.path, reference)
    return published


def _same_file(path: Path | None, reference: "Reference") -> None:
    if reference.sha256 and path is not None and sha256_file(path) != reference.sha256:
        raise EmbeddingError(
            f"{path} is another file than the {reference.name} that the recipe names by its SHA-256"
        )
