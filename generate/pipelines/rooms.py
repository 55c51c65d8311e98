"""A pipeline's text encoders that can move: where each is, and the projection of its loss."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from visunex.aesthetic_embeddings.space import Space

from ..errors import UsageError
from ..families.family import Encoder, Family
from ..steering.arguments import as_projection, text_model_of
from ..steering.weights import weight_of
from ..taste import space_named

__all__ = ["Room", "columns", "rooms_of"]


@dataclass(frozen=True, eq=False)
class Room:
    """A text encoder of a pipeline: what the family says of it, and the module and the tokenizer themselves.

    `own` is the linear layer of its projection where it has one; `given` is the projection that the caller
    gave for one that has none, or an identity, and `named` its CLIP, where that is not the published one.
    """

    encoder: Encoder
    module: Any
    tokenizer: Any
    own: Any = None
    given: Tensor | None = None
    named: Space | None = None

    @property
    def text_model(self) -> Any:
        """The CLIP text model itself. Raises SteeringError where it is none."""
        return text_model_of(self.module)

    @property
    def width(self) -> int:
        """Columns of its hidden states."""
        return int(self.text_model.config.hidden_size)

    @property
    def size(self) -> int | None:
        """Dimensions of its target; None where nothing says which projection is its own."""
        if self.given is not None:
            return len(self.given)
        if self.own is not None:
            return int(self.own.weight.shape[0])
        return self.encoder.size if self.width == self.encoder.width else None

    @property
    def space(self) -> Space | None:
        """The space that its target has to be of, where that is certain."""
        sure = self.given is None and self.size == self.encoder.size
        return space_named(self.encoder.space) if sure else self.named

    def projection(self, lora_scale: float = 1.0) -> Tensor:
        """The projection `[size, width]` that the loss is on. Raises CheckpointError where it cannot be had.

        An identity is what a conversion wrote in the place of one that it did not find.
        """
        if self.given is not None:
            return self.given
        own = None if self.own is None else weight_of(self.own, lora_scale=lora_scale)
        if own is not None and not _is_identity(own):
            return own
        return self.encoder.published(self.width)

    def __str__(self) -> str:
        if self.size is None:
            return f"what text_projection= says of {self.encoder.part}, which brings no projection"
        return f"1x{self.size} ({self.encoder.part})"


def rooms_of(
    pipe: Any, family: Family, text_projection: Any = None, space: Space | None = None
) -> list[Room]:
    """The text encoders that a pipeline has of its family's, in order.

    `text_projection` is the projection of the one that brings none, or an identity, and `space` its CLIP
    where that is known. Raises UsageError where
    there is no such.
    """
    given = None if text_projection is None else as_projection(text_projection)
    rooms = []
    for encoder in family.encoders:
        module = getattr(pipe, encoder.part, None)
        if module is None:
            continue
        text_model_of(module)  # who is none is named before anything is asked of it
        own = getattr(getattr(module, "_orig_mod", module), "text_projection", None)
        own = own if isinstance(own, nn.Module) else None
        missing = own is None or _is_identity(weight_of(own))
        more = (given, space) if missing else ()
        rooms.append(Room(encoder, module, getattr(pipe, encoder.tokenizer), own, *more))
    if given is not None and all(room.given is None for room in rooms):
        raise UsageError("text_projection is for an encoder that brings none: all of these bring their own")
    return rooms


def columns(room: Room, rooms: list[Room]) -> tuple[slice | None, slice | None]:
    """Where an encoder's states and its feature lie among the columns of the pipeline's conditioning."""
    before = rooms[: rooms.index(room)]
    states = sum(each.width for each in before if each.encoder.skipped is not None)
    pooled = sum(_pooled(each) for each in before)
    return (
        None if room.encoder.skipped is None else slice(states, states + room.width),
        slice(pooled, pooled + _pooled(room)) if room.encoder.pooled else None,
    )


def _pooled(room: Room) -> int:
    """Columns of the feature that an encoder gives its pipeline."""
    if room.encoder.pooled == "projected":
        return int(room.own.weight.shape[0])
    return room.width if room.encoder.pooled else 0


def _is_identity(weight: Tensor) -> bool:
    rows, columns = weight.shape
    eye = torch.eye(rows, columns, dtype=weight.dtype, device=weight.device)
    return rows == columns and bool(torch.equal(weight, eye))
