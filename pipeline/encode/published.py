"""Published vectors in place of images, reduced to an embedding."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import reduce
from visunex.base.files import write_text
from visunex.recipes import dumps

from ..errors import EncodeError
from ..reduce.checks import Checks, check_reference, norm_of
from ..reduce.embedding import RecipeIdentity, provenance, require_target, save_embedding
from ..rundir import RunDir
from ..vectors.catalog import digest, read_published
from .reports import VectorsReport

if TYPE_CHECKING:
    from visunex.recipes import Recipe

__all__ = ["VectorsReport", "reduce_published"]


def reduce_published(
    run: RunDir | None, recipe: "Recipe", *, out: Path | None = None, overwrite: bool = False
) -> VectorsReport:
    """Reduce the recipe's published vectors to one embedding, in the run (whose lock is held) and at `out`.

    Raises EncodeError, EmbeddingError, StaleRunError, UsageError; EncodeError also when the result differs
    from the recipe's reference by more than its tolerance.
    """
    started, settings = time.monotonic(), recipe.encode
    require_target(run, out)
    files = [read_published(name) for name in (*settings.vectors, *settings.baseline_vectors)]
    arrays = [file.vectors for file in files]
    wanted, baseline = arrays[: len(settings.vectors)], arrays[len(settings.vectors) :]
    _same_dimension([*wanted, *baseline], [*settings.vectors, *settings.baseline_vectors])
    digests = _digests(settings.vectors, wanted), _digests(settings.baseline_vectors, baseline)
    if run is not None:
        run.begin("encode", {"vectors": digests[0], "baseline": digests[1]}, overwrite=overwrite)
        write_text(run.recipe, dumps(recipe))
    vector = reduce(wanted, settings.reduce, baseline=baseline or None)
    model = {"name": settings.model, "pretrained": settings.pretrained}
    reference = None if recipe.reference is None else check_reference(vector, recipe.reference, model)
    checks = Checks(norm_of(vector), None, reference)
    made_of = {
        "vectors": digests[0],
        "baseline_vectors": digests[1],
        "model": model,
        "reduction": settings.reduce,
    }
    made = provenance(RecipeIdentity.of(recipe), made_of, checks)
    report = VectorsReport(
        vectors=settings.vectors,
        baseline=settings.baseline_vectors,
        dimension=vector.shape[1],
        reduction=settings.reduce,
        dropped=[name for file in files for name in file.dropped],
        checks=checks,
        embedding=save_embedding(vector, made, run, out),
        seconds=round(time.monotonic() - started, 3),
    )
    return report.recorded(run)


def _same_dimension(arrays: Sequence[NDArray[np.float32]], names: Sequence[str]) -> None:
    """Raise EncodeError where the arrays are not all of one dimension."""
    for array, name in zip(arrays, names, strict=True):
        if array.shape[1] != arrays[0].shape[1]:
            raise EncodeError(
                f"{name} has vectors of {array.shape[1]} dimensions, {names[0]} of {arrays[0].shape[1]}: "
                "they come from different towers"
            )


def _digests(names: Sequence[str], arrays: Sequence[NDArray[np.float32]]) -> list[list[str]]:
    """Each name with the SHA-256 of its vectors."""
    return [[name, digest(array.tobytes())] for name, array in zip(names, arrays, strict=True)]
