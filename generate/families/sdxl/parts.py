"""The parts that an SDXL model is made of, whatever they were read from."""

from dataclasses import dataclass
from typing import Any

from .. import parts

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts(parts.UNetParts):
    """A family's parts, and transformers' second text model, with its projection, and its tokenizer.

    `own_projection` is the first one's, where the model brings it. `zeros` says that the UNet was trained
    with zeros in the place of an empty prompt's conditioning.
    """

    text_encoder_2: Any
    tokenizer_2: Any
    zeros: bool = True

    @property
    def networks(self) -> tuple[Any, ...]:
        """Everything that has weights."""
        return *super().networks, self.text_encoder_2

    @property
    def readers(self) -> tuple[tuple[Any, Any], ...]:
        """Each tokenizer, and the text encoder that takes its tokens."""
        return *super().readers, (self.tokenizer_2, self.text_encoder_2)
