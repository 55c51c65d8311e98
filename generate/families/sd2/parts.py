"""The parts that a Stable Diffusion 2.x model is made of, whatever they were read from."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .. import parts

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts(parts.UNetParts):
    """A family's parts; the text encoder has ViT-H's layers but the last, as diffusers has it.

    `last_layer` are the weights of that layer by transformers' names, where the model brings them.
    """

    last_layer: Mapping[str, Tensor] | None = None
