"""The parts that a Stable Diffusion 3 model is made of, whatever they were read from."""

from dataclasses import dataclass
from typing import Any

from .. import flow

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts(flow.Parts):
    """A flow's parts; bigG as the second text encoder, and T5 as the third where the model has it."""

    text_encoder_3: Any = None
    tokenizer_3: Any = None

    @property
    def networks(self) -> tuple[Any, ...]:
        """Everything that has weights."""
        third = () if self.text_encoder_3 is None else (self.text_encoder_3,)
        return *super().networks, self.text_encoder_2, *third

    @property
    def readers(self) -> tuple[tuple[Any, Any], ...]:
        """Each of CLIP's tokenizers, and the text encoder that takes its tokens."""
        return *super().readers, (self.tokenizer_2, self.text_encoder_2)
