"""What a person may name to have it scored: a run, a folder of vectors, an embedding."""

from collections.abc import Sequence
from pathlib import Path

from visunex.aesthetic_embeddings import EmbeddingError, find
from visunex.base.errors import UsageError
from visunex.base.folders import RUNS, expanded

from ..errors import EncodeError
from ..rundir import RunDir
from ..vectors.store import is_vector_folder, read_vectors
from .catalog import Predictor
from .folder import Scores, score_embedding, score_folder

__all__ = ["scored"]


def scored(
    what: str, predictors: Sequence[Predictor], mirror: str | None = None
) -> tuple[Scores, Path | None]:
    """The scores of what a person named, and the run's folder if it is one.

    Raises EncodeError, UsageError: there is no such thing, it is not encoded yet, or is of another model.
    """
    path = expanded(what)
    if is_vector_folder(path):
        return score_folder(read_vectors(path), predictors, mirror), None
    run = next((RunDir(each) for each in (path, RUNS / what) if is_vector_folder(RunDir(each).vectors)), None)
    if run is not None:
        return score_folder(read_vectors(run.vectors), predictors, mirror), run.path
    if path.is_dir() and not (path / "embedding.pt").exists():
        is_run = RunDir(path).recipe.exists() or RunDir(path).selected.exists()
        again = f"encode --run {what}" if is_run else f"encode --images {what} --run runs/{path.name}"
        raise EncodeError(f"{what} holds no vectors yet: make them with `visunex-data {again}`")
    try:
        return score_embedding(find(what, mirror), predictors, mirror), None
    except EmbeddingError as error:
        if path.exists():
            raise
        raise UsageError(f"{what} is no run, folder of vectors or embedding: {error}") from None
