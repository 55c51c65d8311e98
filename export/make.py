"""What is wanted -> the file, by the module of its kind."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visunex.aesthetic_embeddings import Embedding, find
from visunex.base.files import fingerprint

from .errors import ExportError, UsageError
from .output import STEPS, VECTORS, Output, suffixed

__all__ = ["Wanted", "make"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command was asked for; the fields are its options."""

    embedding: str
    kind: str
    out: Path
    overwrite: bool = False
    norm: float | None = None
    model: str = ""
    variant: str | None = None
    device: str = "auto"
    imitate: int | None = None
    cosine: int | None = None
    rank: int = 4
    vectors: int = 2
    prompts: Path | None = None
    seed: int = 0
    most: int = 4
    count: int = 8
    way: str = "both"
    captions: tuple[str, ...] = ()
    ban: tuple[str, ...] = ()

    @property
    def objective(self) -> tuple[str, int]:
        """What is learnt, and how many steps it is to equal. Raises UsageError where both are asked for."""
        if self.imitate is not None and self.cosine is not None:
            raise UsageError("--imitate and --cosine are two ways to learn: give one of them")
        if self.cosine is not None:
            return "cosine", self.cosine
        return "imitate", STEPS if self.imitate is None else self.imitate


def make(wanted: Wanted) -> dict[str, Any]:
    """Make the file, unless this very request made it before; its path and provenance.

    Raises EmbeddingError for an embedding that is not there, ExportError for what cannot be made of it, or
    cannot be written, and what loading a model raises.
    """
    embedding = find(wanted.embedding)
    made = _vector if wanted.kind in VECTORS else _learnt
    output, said = made(wanted, embedding)
    return {"file": str(output.path), **said}


def request_of(wanted: Wanted, embedding: Embedding) -> dict[str, Any]:
    """What every kind says that it was made of, as JSON."""
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
    from visunex.aesthetic_embeddings.made_of import image_norm, is_contrast

    from .vectors import VECTOR_KINDS, report_on, scaled

    layout = VECTOR_KINDS[wanted.kind]
    if layout.adapter and is_contrast(embedding):
        raise ExportError(
            f"{wanted.embedding} is a contrast: the direction from one taste to another, and no image's "
            "vector, which adapters take; export one of --reduce mean, or this one --to lora"
        )
    path = suffixed(wanted.out, wanted.kind, layout.suffix)
    norm = wanted.norm
    if norm is None and layout.adapter:
        norm = image_norm(embedding)
    output = Output(path, {**request_of(wanted, embedding), "norm": norm})
    if (said := output.made(overwrite=wanted.overwrite)) is not None:
        return output, said
    vector = scaled(embedding.vector, norm)
    return output, output.write(layout.data(vector), report_on(wanted.kind, vector))


def _learnt(wanted: Wanted, embedding: Embedding) -> tuple[Output, dict[str, Any]]:
    """What is learnt on a model's text encoder."""
    from visunex.generate import Taste

    from . import encoder, prompt_set

    kind = _kind(wanted)
    path = suffixed(wanted.out, wanted.kind, *kind.suffixes)
    prompts = prompt_set.load(wanted.prompts, wanted.seed)
    taste = Taste.load(wanted.embedding)
    sides = encoder.load(wanted.model, taste, device=wanted.device, variant=wanted.variant)
    learnt_on = _learnt_on(wanted, sides, prompts)
    output = Output(path, {**request_of(wanted, embedding), **learnt_on, **vars(kind.aim), **kind.read})
    if (said := output.made(overwrite=wanted.overwrite)) is not None:
        return output, said
    said = output.write(*kind.make(sides, kind.aim, prompts, output, wanted.seed))
    output.forget()
    return output, said


@dataclass(frozen=True)
class _Kind:
    """How a kind is made: the endings of its file, what is aimed at, what gives its bytes and report.

    `read` says what files it is made of, beside the model and the prompts: names and digests.
    """

    suffixes: tuple[str, ...]
    aim: Any
    make: Any
    read: Mapping[str, Any] = field(default_factory=dict)


def _kind(wanted: Wanted) -> _Kind:
    from . import lora, tokens, word_search

    if wanted.kind == "prompt":
        banned = tuple(word for each in wanted.ban for part in each.split(",") if (word := part.strip()))
        aim = word_search.WordAim(wanted.most, wanted.count, wanted.way, banned, wanted.captions)
        names = [Path(each).name for each in wanted.captions]
        searched = fingerprint(word_search.phrases_of(map(Path, wanted.captions)))
        # Where captions lie is no part of what is made; what they hold is.
        return _Kind((".txt",), aim, word_search.made, {"vocabulary_sha256": searched, "captions": names})
    objective, steps = wanted.objective
    if wanted.kind == "lora":
        return _Kind((".safetensors",), lora.Aim(objective, steps, wanted.rank), lora.made)
    return _Kind(
        (".safetensors", ".pt"), tokens.TokenAim(wanted.imitate or STEPS, wanted.vectors), tokens.made
    )


def _learnt_on(wanted: Wanted, sides: Any, prompts: Any) -> dict[str, Any]:
    """The model, the prompts and the seed, for a provenance."""
    texts = "\n".join((*prompts.train, "", *prompts.choose, "", *prompts.judge))
    return {
        "model": {"name": wanted.model, **{side.part: side.fingerprint for side in sides}},
        "vectors_sha256": {side.part: side.taste.digest for side in sides},
        "prompts": {
            "file": wanted.prompts.name if wanted.prompts else "shipped",
            "learnt_on": len(prompts.train),
            "sha256": hashlib.sha256(texts.encode()).hexdigest(),
        },
        "seed": wanted.seed,
    }
