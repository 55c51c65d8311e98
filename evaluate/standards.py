"""What pictures are measured against: a taste's direction, and the pictures that its run left out of it.

In the taste's own space, and in every other encoder's: as `encode --also` made it beside the embedding, or
made here of the run's pictures.
"""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visunex.aesthetic_embeddings import Embedding, find, reduce
from visunex.aesthetic_embeddings.artefact import load
from visunex.aesthetic_embeddings.space import Space, space_of
from visunex.base.files import fingerprint
from visunex.demo import TINY_MODEL
from visunex.generate import Taste
from visunex.generate.adapters.vector import ENCODERS
from visunex.pipeline.errors import PipelineError
from visunex.pipeline.rundir import RunDir, beside
from visunex.pipeline.score.choice import CHOSEN, HELD_OUT, images_of_status
from visunex.pipeline.score.rows import rows_of
from visunex.pipeline.vectors.store import VectorFolder, is_vector_folder, read_vectors
from visunex.pipeline.vectors.subset import only
from visunex.recipes.encoders import DEFAULT_WEIGHTS

from .encoders import Encoders, space_named
from .errors import UsageError
from .measures import Floats, unit
from .plan import Request

__all__ = ["Standard", "standards_of"]


@dataclass(frozen=True, eq=False)
class Standard:
    """A taste under its label; by space its direction `[D]` and held-out pictures `[m, D]`, own space first.

    `remarks` say what could not be measured, and what to do about it.
    """

    label: str
    taste: Taste
    directions: Mapping[Space, Floats]
    held_out: Mapping[Space, Floats] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def own(self) -> Space:
        """The space that the embedding is of."""
        return next(iter(self.directions))


def standards_of(request: Request, labels: Sequence[str], encoders: Encoders) -> tuple[Standard, ...]:
    """The standard of each taste. Raises EmbeddingError, UsageError, and what encoding raises."""
    also = tuple(space_named(each, "--also") for each in _also(request))
    return tuple(
        _standard(request, name, label, also, encoders)
        for name, label in zip(request.embeddings, labels, strict=True)
    )


def _also(request: Request) -> tuple[str, ...]:
    """The further encoders: those that were named, else what the demo world has."""
    from visunex.demo import JUDGE_MODEL

    if request.also is None:
        return (JUDGE_MODEL,) if request.model == TINY_MODEL else ()
    return request.also


def _standard(request: Request, name: str, label: str, also: Sequence[Space], encoders: Encoders) -> Standard:
    embedding = find(name)
    taste = Taste.load(name, lr=request.lr)
    own, run = _own_space(request, name, embedding), _run_of(embedding)
    directions, remarks = {own: unit(embedding.vector)[0]}, list[str]()
    held_out = {} if run is None else _held_out(run, own, "")
    if not held_out:
        remarks.append(
            f"{label}: no pictures were left out of it to compare with (CLIP-I); `visunex-data run "
            "--hold-out 0.1` leaves some out"
        )
    for space, vector in _beside(embedding):
        directions[space] = vector
        if run is not None:
            held_out |= _held_out(run, space, _suffix(space))
    for space in also:
        if not any(not space.differs(each) for each in directions):
            made = _made_here(request, embedding, run, space, encoders)
            if isinstance(made, str):
                remarks.append(f"{label}: {made}")
            else:
                directions[space], others = made
                held_out |= {} if others is None else {space: others}
    return Standard(label, taste, directions, held_out, tuple(remarks))


def _own_space(request: Request, name: str, embedding: Embedding) -> Space:
    """Whose vectors an embedding is of: as it says, as was named, else as its size says."""
    said = space_of(embedding)
    if said is not None:
        return said
    if request.encoder is not None:
        return space_named(request.encoder, "--encoder")
    if request.model == TINY_MODEL:
        return Space(TINY_MODEL, "")
    if embedding.dimension in ENCODERS:
        return ENCODERS[embedding.dimension]
    raise UsageError(
        f"{name} does not say which CLIP it is of, and 1x{embedding.dimension} is of none that is commonly "
        "used: name it with --encoder MODEL:WEIGHTS"
    )


def _run_of(embedding: Embedding) -> RunDir | None:
    """The run that an embedding lies in with the vectors it was made of."""
    if embedding.path is None:
        return None
    run = RunDir(embedding.path.parent)
    return run if run.embedding == embedding.path and is_vector_folder(run.vectors) else None


def _suffix(space: Space) -> str:
    """What `encode --also` calls a space in names of files."""
    return f"{space.name}-{space.pretrained}" if space.pretrained else space.name


def _beside(embedding: Embedding) -> list[tuple[Space, Floats]]:
    """The same taste by further encoders, as `encode --also` puts it beside the embedding."""
    found = []
    own = embedding.path
    for path in sorted(own.parent.glob(f"{glob.escape(own.stem)}-*.pt")) if own is not None else ():
        other = load(path)
        space = space_of(other)
        if own is not None and space is not None and path == beside(own, _suffix(space)):
            found.append((space, unit(other.vector)[0]))
    return found


def _held_out(run: RunDir, space: Space, suffix: str) -> dict[Space, Floats]:
    """The unit vectors of the run's pictures that were left out of its embedding."""
    folder = run.of_encoder(suffix).vectors
    names = images_of_status(run.choice, HELD_OUT)
    if not names or not is_vector_folder(folder):
        return {}
    return {space: _units(_among(read_vectors(folder), names))}


def _among(vectors: VectorFolder, names: frozenset[str] | None) -> VectorFolder:
    """The vectors of some images; all where None."""
    if names is None:
        return vectors
    return only(vectors, np.array([each in names for each in rows_of(vectors)["image_path"].to_pylist()]))


def _units(vectors: VectorFolder) -> Floats:
    return unit(np.concatenate([np.zeros((0, vectors.dimension), np.float32), *vectors.units()]))


def _made_here(
    request: Request, embedding: Embedding, run: RunDir | None, space: Space, encoders: Encoders
) -> tuple[Floats, Floats | None] | str:
    """The taste in another space, of its run's pictures, and those held out; or why there is none."""
    provenance = embedding.provenance or {}
    how = provenance.get("reduction")
    if run is None or how not in ("mean", "unit-mean", "median"):
        return f"nothing to measure it by in the space of {space}: encode its pictures with --also {space}"
    made_of = fingerprint([str(run.path), embedding.vector.tobytes().hex()])[:8]
    folder = request.outdir / "foreign" / f"{run.path.name}-{_suffix(space)}-{made_of}"
    try:
        vectors = _encoded(folder, run, provenance.get("pictures") or (), space, encoders.device)
    except PipelineError as error:
        return f"nothing to measure it by in the space of {space}: {error}"
    chosen = images_of_status(run.choice, CHOSEN) if run.choice.exists() else None
    vector = reduce(_among(vectors, chosen).units(), how if how != "mean" else "unit-mean")
    held_out = images_of_status(run.choice, HELD_OUT)
    return unit(vector)[0], _units(_among(vectors, held_out)) if held_out else None


def _encoded(folder: Path, run: RunDir, made_of: Sequence[str], space: Space, device: str) -> VectorFolder:
    """The vectors of a run's pictures by another encoder, in a folder of ours; what is there stays."""
    from visunex.pipeline.encode import encode_to
    from visunex.recipes import Recipe
    from visunex.recipes import load as load_recipe

    recipe = load_recipe(run.recipe) if run.recipe.exists() else Recipe(name=run.path.name)
    named: dict[str, Any] = {
        "model": space.name,
        "pretrained": space.pretrained or DEFAULT_WEIGHTS,
        "also": (),
        "baseline": None,
    }
    recipe = recipe.model_copy(update={"encode": recipe.encode.model_copy(update=named)})
    encode_to(folder, made_of or [run.path], recipe, device)
    return read_vectors(folder)
