"""The parts that a model is made of, whatever they were read from; a family may add to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """diffusers' UNet and VAE, transformers' CLIP text model (fp32) and tokenizer, the noise schedule.

    `own_projection` is the text projection `[D_proj, D]` where the model brings one.
    """

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: Mapping[str, Any]
    own_projection: Tensor | None = None

    @property
    def networks(self) -> tuple[Any, ...]:
        """Everything that has weights."""
        return self.unet, self.vae, self.text_encoder

    @property
    def readers(self) -> tuple[tuple[Any, Any], ...]:
        """Each tokenizer, and the text encoder that takes its tokens."""
        return ((self.tokenizer, self.text_encoder),)
