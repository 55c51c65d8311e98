"""Vectors -> `embedding.pt`, and `embedding.json` beside it, which says how it was made."""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import reduce, save
from visunex.aesthetic_embeddings.reduction import BY_SCORES
from visunex.base.errors import UsageError
from visunex.base.files import fingerprint

from .checks import Checks

if TYPE_CHECKING:
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Reduction

    from ..rundir import RunDir
    from ..vectors.store import VectorFolder

__all__ = [
    "EmbeddingReport",
    "RecipeIdentity",
    "library_versions",
    "provenance",
    "reduce_folder",
    "require_target",
    "save_embedding",
]

_LIBRARIES = ("visunex", "torch", "open_clip_torch", "pillow", "numpy")


@dataclass(frozen=True)
class RecipeIdentity:
    """What an embedding says of its recipe: the name, and a hash of all that it sets."""

    name: str
    hash: str

    @classmethod
    def of(cls, recipe: "Recipe") -> "RecipeIdentity":
        """The identity of a resolved recipe."""
        return cls(recipe.name, fingerprint(recipe.model_dump(mode="json", exclude={"engine"})))


@dataclass(frozen=True)
class EmbeddingReport:
    """The report of an embedding, however it was made; subclasses say of what."""

    dimension: int
    reduction: str
    checks: Checks
    embedding: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {**asdict(self), "checks": self.checks.as_dict()}

    def outcome(self) -> list[str]:
        """The last lines of the report for a person: the embedding, and how it compares to the published."""
        made = f"{self.embedding}: 1x{self.dimension}, {self.reduction}, norm {self.checks.norm:.4g}"
        return [made, *(self.checks.reference.lines() if self.checks.reference else ())]

    def recorded(self, run: "RunDir | None") -> Self:
        """The same report, after `report.json` of the run has it.

        Raises EncodeError when the reference should be reproduced and is not.
        """
        if run is not None:
            run.record("encode", self.as_dict())
        if self.checks.reference is not None:
            self.checks.reference.require_reproduced()
        return self


def require_target(run: "RunDir | None", out: Path | None) -> None:
    """Raise UsageError where an embedding would have no place to be saved at."""
    if run is None and out is None:
        raise UsageError("there is nowhere to put the embedding; name a file with --out, or a run with --run")


def save_embedding(
    vector: NDArray[np.float32], made: Mapping[str, Any], run: "RunDir | None", out: Path | None
) -> str:
    """Save an embedding float32 [1, D] and its provenance in the run and at `out`; the path of the last."""
    targets = [path for path in (run.embedding if run else None, out) if path is not None]
    for target in targets:
        save(target, vector, made)
    return str(targets[-1])


def reduce_folder(
    vectors: "VectorFolder", how: "Reduction", baseline: "VectorFolder | None" = None
) -> NDArray[np.float32]:
    """The vectors of a folder reduced to float32 [1, D]; see `visunex.aesthetic_embeddings.reduce`."""
    return reduce(
        vectors.raw() if how == "mean" else vectors.units(),
        how,
        scores=vectors.scores() if how in BY_SCORES else None,
        baseline=baseline.units() if baseline is not None else None,
    )


def provenance(recipe: RecipeIdentity, made_of: Mapping[str, Any], checks: Checks) -> dict[str, Any]:
    """The content of `embedding.json`: the recipe, what the embedding was `made_of`, checks and versions.

    Nothing in it changes when the same is made again on the same machine.
    """
    return {
        "recipe": recipe.name,
        "recipe_hash": recipe.hash,
        **made_of,
        "checks": checks.as_dict(),
        "libraries": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """The versions that the numbers may depend on beside the recipe."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
