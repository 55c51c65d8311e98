"""Prompts in the web UI's syntax: each chunk through the text encoders, moved and weighed on its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..controls import Climb
from ..errors import UsageError
from ..families.family import Family
from ..syntax.changes import sections_of
from ..syntax.chunks import Chunk, chunks_of, empty_chunk
from ..syntax.emphasis import weigh
from .blending import blended
from .conditioning import Conditioning
from .encoders import POOLED, STATES, Encoders, How
from .rooms import Room
from .texts import length_of

__all__ = ["in_chunks", "read_in_chunks", "require_chunks", "zeros_for_nothing"]


def in_chunks(encoders: Encoders, texts: Mapping[str, list[str]], how: How) -> dict[str, Tensor]:
    """The conditioning arguments of a pipeline's `__call__` for prompts in the web UI's syntax.

    `texts` are lists of equally many by the names of the pipeline's arguments. Raises what `read_in_chunks`
    does, and UsageError for a scale of adapters.
    """
    if encoders.lora_scale != 1:
        raise UsageError(
            'lora_scale has no place beside prompt_syntax="webui": scale the adapters themselves'
        )
    count = len(texts["prompt"])
    negatives = texts.get("negative_prompt") or [""] * count
    rows = range(count)
    wanted = [read_in_chunks(encoders, _row(encoders, texts, "", row), how) for row in rows]
    nothing = "negative_prompt" not in texts and zeros_for_nothing(encoders.pipe)
    named = {**texts, "negative_prompt": negatives}
    unwanted = [read_in_chunks(encoders, _row(encoders, named, "negative_", row)) for row in rows]
    if nothing:
        unwanted = [_zeros_like(each) for each in unwanted]
    alike = Conditioning.alike([Conditioning.of(wanted), Conditioning.of(unwanted)])
    found = {
        f"{prefix}{name}": tensor
        for prefix, each in zip(("", "negative_"), alike, strict=True)
        for name, tensor in ((STATES, each.hidden), (POOLED, each.pooled))
    }
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def read_in_chunks(encoders: Encoders, texts: Mapping[str, str], how: How | None = None) -> Conditioning:
    """What a prompt in the web UI's syntax comes to; `texts` are what each encoder reads, by its part's name.

    Each chunk goes through each encoder by itself; with `how` those that have words are moved towards the
    targets. The weights then scale what that gives, and the mean of each chunk's states is restored. The
    features are the first chunk's. Raises UsageError for a family that other states condition too, and as
    `sections_of` and `chunks_of` do.
    """
    require_chunks(encoders.family)
    lengths = [length_of(encoders.pipe, room) for room in encoders.rooms]
    chunks = [
        _chunks(encoders.pipe, room, texts[room.encoder.part], length)
        for room, length in zip(encoders.rooms, lengths, strict=True)
    ]
    most = max(map(len, chunks))
    nothing = [
        empty_chunk(room.tokenizer, length) for room, length in zip(encoders.rooms, lengths, strict=True)
    ]
    filled = [(*own, *[empty] * (most - len(own))) for own, empty in zip(chunks, nothing, strict=True)]
    states, pooled, climbs = _read_all(encoders, filled, how)
    filling, _, _ = _read_all(encoders, [(empty,) for empty in nothing], None)
    return Conditioning(states, pooled, (climbs,), filling)


def zeros_for_nothing(pipe: Any) -> bool:
    """Whether a pipeline takes zeros where there is no negative prompt."""
    return bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))


def require_chunks(family: Family) -> None:
    """Raise UsageError for a family that other states than those of CLIP's text encoders condition too."""
    if not family.chunked:
        raise UsageError(
            f"--prompt-syntax webui is not for {family.name}: weights and chunks are of the states of CLIP's "
            "text encoders, and others condition it; give --prompt-syntax plain"
        )


def _row(encoders: Encoders, texts: Mapping[str, list[str]], prefix: str, row: int) -> dict[str, str]:
    """What each encoder reads of the prompts of a row."""
    own = texts[f"{prefix}prompt"]
    return {
        room.encoder.part: texts.get(f"{prefix}{room.encoder.prompt}", own)[row] for room in encoders.rooms
    }


def _zeros_like(each: Conditioning) -> Conditioning:
    zeros = torch.zeros_like(each.hidden)
    return Conditioning(zeros, None if each.pooled is None else torch.zeros_like(each.pooled), filling=zeros)


def _chunks(pipe: Any, room: Room, text: str, length: int) -> tuple[Chunk, ...]:
    convert = getattr(pipe, "maybe_convert_prompt", None)  # words of several vectors, as diffusers adds them
    sections = sections_of(text)
    if convert is not None:
        sections = tuple(
            tuple(replace(piece, text=convert(piece.text, room.tokenizer)) for piece in each)
            for each in sections
        )
    return chunks_of(sections, room.tokenizer, length)


def _read_all(
    encoders: Encoders, chunks: Sequence[Sequence[Chunk]], how: How | None
) -> tuple[Tensor, Tensor | None, tuple[Climb, ...]]:
    """States `[1, k * L, D]`, the first chunks' features `[1, P]`, and how encoders were moved, of as many
    chunks for each encoder."""
    columns, pooled, climbs = list[Tensor](), list[Tensor](), list[Climb]()
    for room, own in zip(encoders.rooms, chunks, strict=True):
        read = [_read(encoders, room, chunk, how) for chunk in own]
        columns.append(torch.cat([states for states, _, _ in read], dim=1))
        pooled += [feature for _, feature, _ in read[:1] if feature is not None]
        climbs += [climb for _, _, climb in read if climb is not None]
    return torch.cat(columns, dim=-1), torch.cat(pooled, dim=-1) if pooled else None, tuple(climbs)


def _read(
    encoders: Encoders, room: Room, chunk: Chunk, how: How | None
) -> tuple[Tensor, Tensor | None, Climb | None]:
    """A chunk's states `[1, L, W]`, its feature `[1, P]`, and how the encoder was moved for it."""
    ids = torch.tensor([chunk.ids])
    states, pooled = encoders.read(room, ids)
    climb = None
    if how is not None and chunk.words and (targets := how.targets_of(room)):
        moved = encoders.climbed_to(room, targets, ids, how)
        climb = Climb(room.encoder.part, moved.steps, *moved.cosines)
        states = blended(states, moved.states, how.controls).to(states)
        if pooled is not None:
            pooled = blended(pooled, encoders.feature(room, moved)[None], how.controls).to(pooled)
    return weigh(states, torch.tensor([chunk.weights])), pooled, climb
