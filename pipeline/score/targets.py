"""What a person may name to have it scored: a run, a folder of vectors, an embedding, or pictures."""

from collections.abc import Sequence
from pathlib import Path

from visunex.aesthetic_embeddings import EmbeddingError, find
from visunex.aesthetic_embeddings.space import space_said
from visunex.base.errors import UsageError
from visunex.base.folders import EMBEDDING, RUNS, expanded
from visunex.clip.identity import dimension_of, model_of

from ..errors import EncodeError
from ..rundir import RunDir
from ..shards.places import names_images
from ..vectors.store import is_vector_folder, read_vectors
from .catalog import Predictor
from .folder import Scores, heads_for, score_embedding, score_folder

__all__ = ["encoder_for", "means_images", "scored"]


def means_images(what: str) -> bool:
    """Whether a person named pictures of which there are no vectors yet: what is none of the rest.

    Raises EncodeError for a run that was not encoded.
    """
    path = expanded(what)
    if "://" in what:
        return True
    if _vectors(what) is not None or (path / EMBEDDING).exists():
        return False
    if RunDir(path).recipe.exists() or RunDir(path).selected.exists():
        raise EncodeError(f"{what} holds no vectors yet: make them with `visunex-data encode --run {what}`")
    return names_images(str(path))


def scored(
    what: str, predictors: Sequence[Predictor], mirror: str | None = None
) -> tuple[Scores, Path | None]:
    """The scores of the vectors or the embedding that a person named, and the run's folder if it is one.

    Raises EncodeError, UsageError: there is no such thing, or it is of another model.
    """
    if (found := _vectors(what)) is not None:
        folder, run = found
        return score_folder(read_vectors(folder), predictors, mirror), run
    try:
        return score_embedding(find(what, mirror), predictors, mirror), None
    except EmbeddingError as error:
        if expanded(what).exists():
            raise
        raise UsageError(f"{what} is no run, folder of vectors or pictures, or embedding: {error}") from None


def encoder_for(
    what: str, model: str, pretrained: str, predictors: Sequence[Predictor], mirror: str | None = None
) -> str:
    """An encoder, as a person calls it, that makes vectors of `what` which the predictors are for.

    The predictors are brought, so that one that cannot be had is named before hours of encoding. Raises
    EncodeError for that, and for another predictor's encoder.
    """
    name, weights = model_of(model, pretrained)
    space = space_said({"name": name, "pretrained": weights})
    dimension = dimension_of(model) or predictors[0].dimension
    heads_for(predictors, dimension, what, [space] if space else [], mirror)
    return f"{name} {weights}".rstrip()


def _vectors(what: str) -> tuple[Path, Path | None] | None:
    """The folder of vectors that is meant, and the run's that they are of."""
    path = expanded(what)
    if is_vector_folder(path):
        return path, None
    runs = (RunDir(each) for each in (path, RUNS / what))
    return next(((run.vectors, run.path) for run in runs if is_vector_folder(run.vectors)), None)
