"""Published vectors in place of pictures, reduced to an embedding."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import reduce
from visunex.base.errors import UsageError
from visunex.base.files import fingerprint

from ..errors import EncodeError
from ..reduce.embedding import Checks, EmbeddingReport, ReferenceCheck, check_reference, library_versions, put
from ..rundir import RunDir
from ..vectors.catalog import digest, read_published

if TYPE_CHECKING:
    from visunex.recipes import Recipe

__all__ = ["VectorsReport", "reduce_published"]


@dataclass(frozen=True)
class VectorsReport(EmbeddingReport):
    """What was made of published vectors, without any picture."""

    vectors: tuple[str, ...]
    baseline: tuple[str, ...]

    def as_text(self) -> str:
        """The report for a person."""
        against = f" minus {', '.join(self.baseline)}" if self.baseline else ""
        return "\n".join([f"published vectors: {', '.join(self.vectors)}{against}", *self.outcome()])


def reduce_published(
    run: RunDir | None, recipe: "Recipe", *, out: Path | None = None, overwrite: bool = False
) -> VectorsReport:
    """Reduce the recipe's published vectors to one embedding, in the run (whose lock is held) and at `out`.

    Raises EncodeError, EmbeddingError, StaleRunError, UsageError; EncodeError also when the result differs
    from the recipe's reference by more than its tolerance.
    """
    started = time.monotonic()
    settings = recipe.encode
    if run is None and out is None:
        raise UsageError("there is nowhere to put the embedding; name a file with --out, or a run with --run")
    wanted = [read_published(name) for name in settings.vectors]
    baseline = [read_published(name) for name in settings.baseline_vectors]
    _same_dimension([*wanted, *baseline], [*settings.vectors, *settings.baseline_vectors])
    if run is not None:
        made_from = {"vectors": _stamps(settings.vectors, wanted)}
        made_from["baseline"] = _stamps(settings.baseline_vectors, baseline)
        run.begin("encode", made_from, overwrite=overwrite)
    vector = reduce(wanted, settings.reduce, baseline=baseline or None)
    checks = _checks(vector, recipe)
    report = VectorsReport(
        vectors=settings.vectors,
        baseline=settings.baseline_vectors,
        dimension=vector.shape[1],
        reduction=settings.reduce,
        checks=checks,
        embedding=put(vector, _provenance(recipe, checks, wanted, baseline), run, out),
        seconds=round(time.monotonic() - started, 3),
    )
    return report.recorded(run)


def _checks(vector: NDArray[np.float32], recipe: "Recipe") -> Checks:
    reference: ReferenceCheck | None = None
    if recipe.reference is not None:
        reference = check_reference(vector, recipe.reference)
    return Checks(float(np.linalg.norm(vector.astype(np.float64))), None, reference)


def _same_dimension(arrays: Sequence[NDArray[np.float32]], names: Sequence[str]) -> None:
    for array, name in zip(arrays, names, strict=True):
        if array.shape[1] != arrays[0].shape[1]:
            raise EncodeError(
                f"{name} has vectors of {array.shape[1]} dimensions, {names[0]} of {arrays[0].shape[1]}: "
                "they come from different towers"
            )


def _stamps(names: Sequence[str], arrays: Sequence[NDArray[np.float32]]) -> list[list[str]]:
    return [[name, digest(array.tobytes())] for name, array in zip(names, arrays, strict=True)]


def _provenance(
    recipe: "Recipe",
    checks: Checks,
    wanted: Sequence[NDArray[np.float32]],
    baseline: Sequence[NDArray[np.float32]],
) -> dict[str, Any]:
    settings = recipe.encode
    return {
        "recipe": recipe.name,
        "recipe_hash": fingerprint(recipe.model_dump(mode="json")),
        "vectors": _stamps(settings.vectors, wanted),
        "baseline_vectors": _stamps(settings.baseline_vectors, baseline),
        "model": {"name": settings.model, "pretrained": settings.pretrained},
        "reduction": settings.reduce,
        "checks": asdict(checks),
        "libraries": library_versions(),
    }
