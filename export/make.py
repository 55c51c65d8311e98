"""What is wanted -> the file, by the module of its kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.aesthetic_embeddings import Embedding, find

from .options import VECTORS
from .output import Output, suffixed

__all__ = ["Wanted", "make"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command was asked for; the fields are its options."""

    embedding: str
    kind: str
    out: Path
    overwrite: bool = False
    norm: float | None = None


def make(wanted: Wanted) -> dict[str, Any]:
    """Make the file, unless this very request made it before; its path and provenance.

    Raises EmbeddingError for an embedding that is not there, ExportError for what cannot be made of it, or
    cannot be written.
    """
    embedding = find(wanted.embedding)
    if wanted.kind in VECTORS:
        output, said = _vector(wanted, embedding)
    return {"file": str(output.path), **said}


def request_of(wanted: Wanted, embedding: Embedding) -> dict[str, Any]:
    """What every kind says that it was made of, as JSON."""
    import hashlib

    from visunex.aesthetic_embeddings.space import space_of

    space = space_of(embedding)
    return {
        "kind": wanted.kind,
        "embedding": {
            "name": embedding.name,
            "dimension": embedding.dimension,
            "vector_sha256": hashlib.sha256(embedding.vector.tobytes()).hexdigest(),
            "model": space.as_model() if space else None,
        },
    }


def _vector(wanted: Wanted, embedding: Embedding) -> tuple[Output, dict[str, Any]]:
    from .vectors import VECTOR_KINDS, length_of, remarks, scaled

    layout = VECTOR_KINDS[wanted.kind]
    path = suffixed(wanted.out, wanted.kind, layout.suffix)
    norm = wanted.norm
    if norm is None and layout.adapter:
        norm = length_of(embedding)
    output = Output(path, {**request_of(wanted, embedding), "norm": norm})
    if (said := output.made(overwrite=wanted.overwrite)) is not None:
        return output, said
    vector = scaled(embedding.vector, norm)
    length = embedding.norm if norm is None else norm
    report = {
        "norm": length,
        "said": [
            f"1x{embedding.dimension}, length {length:.4g}, for {layout.reader}",
            *remarks(wanted.kind, embedding.dimension, length),
        ],
    }
    return output, output.write(layout.data(vector), report)
