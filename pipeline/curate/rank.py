"""Pictures ordered by how near they lie to an embedding: the cosine of their vectors to it.

Any pictures will do, those that a model of any kind drew too: a taste acts so where nothing takes an
embedding.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import Embedding, find
from visunex.aesthetic_embeddings.space import Space, space_of, space_said
from visunex.base.folders import expanded
from visunex.base.progress import Progress
from visunex.clip.identity import dimension_of, model_of
from visunex.recipes import Override, Recipe, override
from visunex.recipes.schema import Encode

from ..errors import UsageError
from ..rundir import RunDir, run_named
from ..score.folder import Scores, spaces_of
from ..score.rows import Rows
from ..score.targets import means_images
from ..vectors.store import VectorFolder, is_vector_folder, read_vectors

if TYPE_CHECKING:
    from ..encode import OutcomeCounts

__all__ = ["Ranking", "rank"]

_BY_DEFAULT = 768  # the dimension of OpenAI's ViT-L/14, whose embeddings are passed on without a word


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best pictures, each with its `cosine` to an embedding; nearest first.

    `rows` say `rank` (1 is the nearest), `cosine` and what is known of the picture: `image_path`, `key`,
    `url`, `caption`. `vectors` were compared, `dropped` names those without a direction. Of pictures that
    were encoded for this, `counts` say what became of them; `assumed` where nothing says by which encoder
    they have to be.
    """

    rows: list[dict[str, Any]]
    vectors: int
    dropped: tuple[str, ...]
    space: str
    assumed: bool = False
    counts: "OutcomeCounts | None" = None


def rank(
    what: str,
    by: str,
    top: int,
    settings: Sequence[Override] = (),
    *,
    device: str = "auto",
    mirror: str | None = None,
) -> Ranking:
    """The `top` pictures of a place that lie nearest to an embedding.

    `what` is a run, a folder of vectors, or pictures as `encode --images` takes them, which are encoded as
    `settings` of a recipe say, by the embedding's own encoder; their vectors are not kept. Raises
    EmbeddingError, EncodeError, ModelError; UsageError where vectors are of another space than the embedding.
    """
    embedding = find(by, mirror)
    if not means_images(what):
        folder = _vectors_for(what, embedding)
        return _ranked(folder, embedding, top)
    recipe, assumed = _recipe(embedding, settings)
    from ..encode import encode_to

    with tempfile.TemporaryDirectory(prefix="visunex-") as temporary:
        place = what if "://" in what else str(expanded(what))
        counts = encode_to(Path(temporary), [place], recipe, device)
        found = _ranked(read_vectors(Path(temporary)), embedding, top)
    return replace(found, counts=counts, assumed=assumed)


def _vectors_for(what: str, embedding: Embedding) -> VectorFolder:
    """The vectors of a folder, or of whichever of a run's encoders is the embedding's."""
    path = expanded(what)
    run = run_named(what) or RunDir(path)
    places = [path] if is_vector_folder(path) else [each.vectors for each in run.encoders]
    folders = [read_vectors(place) for place in places if is_vector_folder(place)]
    if not folders:
        raise UsageError(f"{what} is no run, folder of vectors or pictures")
    fitting = (each for each in folders if _difference(each, embedding) is None)
    first = next(fitting, None)
    if first is not None:
        return first
    raise UsageError(
        f"{what} holds vectors {_difference(folders[0], embedding)}: they cannot be compared; "
        f"{_advice(embedding, run.path if run.report.exists() else None)}"
    )


def _difference(folder: VectorFolder, embedding: Embedding) -> str | None:
    """In words how vectors are of another space than an embedding; None where they are not."""
    own = space_of(embedding)
    theirs = spaces_of(folder)
    if own is not None and (other := next((each for each in theirs if each.differs(own)), None)) is not None:
        return f"of {other}, and {embedding.name} is of {own}"
    if folder.dimension == embedding.dimension:
        return None
    first = _with_size(theirs[0] if theirs else None, folder.dimension)
    return f"of {first}, and {embedding.name} is of {_with_size(own, embedding.dimension)}"


def _with_size(space: Space | None, dimension: int) -> str:
    return f"{dimension} dimensions" if space is None else f"{space} ({dimension} dimensions)"


def _advice(embedding: Embedding, run: Path | None) -> str:
    said = _model_of(embedding)
    if said is None:
        return "name pictures in place of their vectors"
    text = said.model if said.model.startswith("local-dir:") else f"{said.model}:{said.pretrained}"
    if run is not None:
        return f"`visunex-data encode --run {run} --also {text}` makes those that can"
    return f"name the pictures, which are then encoded with {text}"


def _model_of(embedding: Embedding) -> Encode | None:
    """The encoder that made an embedding, as a recipe names it; None where nothing says so."""
    said = (embedding.provenance or {}).get("model")
    space = space_of(embedding)
    if space is None:
        return None
    name = said.get("name") if isinstance(said, Mapping) and space_said(said) == space else None
    return Encode(model=str(name or space.name), pretrained=space.pretrained or Encode().pretrained)


def _recipe(embedding: Embedding, settings: Sequence[Override]) -> tuple[Recipe, bool]:
    """How pictures are encoded to be compared with an embedding; whether its encoder had to be assumed.

    Raises UsageError where the encoder that was asked for is another, or none is known.
    """
    own = _model_of(embedding)
    recipe = override(Recipe(name="pictures", encode=own or Encode()), settings)
    asked = recipe.encode
    named = any(each.key == "encode.model" for each in settings)
    if own is None and not named and embedding.dimension != _BY_DEFAULT:
        raise UsageError(
            f"nothing says which CLIP {embedding.name} (1x{embedding.dimension}) is of: name it with --model "
            "and --pretrained"
        )
    dimension = dimension_of(asked.model)
    other = own is not None and Space(asked.model, asked.pretrained).differs(Space(own.model, own.pretrained))
    if other or (dimension is not None and dimension != embedding.dimension):
        whose = f"{embedding.dimension} dimensions" if own is None else _named(own)
        raise UsageError(
            f"{embedding.name} is of {whose}, which vectors of {_named(asked)} cannot be compared with; "
            "leave --model out" + ("" if own is not None else ", or name the right one")
        )
    return recipe, own is None and not named


def _named(encoder: Encode) -> str:
    return " ".join(model_of(encoder.model, encoder.pretrained)).strip()


def _ranked(folder: VectorFolder, embedding: Embedding, top: int) -> Ranking:
    if difference := _difference(folder, embedding):  # as for weights of the same name that are others
        raise UsageError(f"the pictures' vectors are {difference}: they cannot be compared")
    unit = embedding.unit.reshape(-1)
    cosines = np.empty(len(folder))
    begin = 0
    with Progress("rank", len(folder), unit="vectors") as shown:
        for block in folder.units().each(lambda units: _cosines(units, unit)):
            cosines[begin : begin + len(block)] = block
            begin += len(block)
            shown.advance(len(block))
    best = Scores(Rows(folder), {"cosine": cosines}).extremes(top)["cosine"][0] if len(cosines) else []
    rows = [_row(place, each) for place, each in enumerate(best, 1)]
    space = next(iter(spaces_of(folder)), space_of(embedding))
    name = f"{folder.dimension} dimensions" if space is None else str(space)
    return Ranking(rows, len(folder), tuple(folder.dropped), name)


def _cosines(units: NDArray[np.float32], unit: NDArray[np.float64]) -> NDArray[np.float64]:
    wide = units.astype(np.float64)
    return np.asarray(wide @ unit / np.linalg.norm(wide, axis=1))


def _row(place: int, found: Mapping[str, Any]) -> dict[str, Any]:
    about = {name: found.get(name) for name in ("image_path", "key", "url", "caption")}
    return {"rank": place, "cosine": found["score"], **about}
