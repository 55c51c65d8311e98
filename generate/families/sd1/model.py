"""Stable Diffusion 1.x on a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from visunex.demo import TINY_MODEL

from ...settings import TextEncoder
from .. import model
from ..outline import SAMPLE_SIZES
from .checkpoint import SCALING
from .prompts import Conditioner
from .text_encoder import CLIP_L, WIDTH, text_projection

__all__ = ["Model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(model.Model):
    """One Stable Diffusion 1.x model on a device; UNet and VAE in `dtype`, the text encoder in fp32."""

    SAMPLE_SIZE, SCALING, AS_ORIGINAL = SAMPLE_SIZES["sd1"], SCALING, True

    @cached_property
    def text_projection(self) -> Tensor:
        """The text features' projection `[D_proj, D]`: the model's, else CLIP-L's. Raises CheckpointError."""
        if self.own_projection is not None:
            return self.own_projection
        return text_projection(self.text_encoder.config.hidden_size)

    @property
    def clip(self) -> Mapping[str, str] | None:
        """The CLIP in whose space prompts are moved: CLIP-L, unless the model brings a projection of its own.

        None where nothing says which it is.
        """
        if self.name == TINY_MODEL:
            return {"name": TINY_MODEL}
        own = self.own_projection is not None or self.text_encoder.config.hidden_size != WIDTH
        return None if own else CLIP_L

    def conditioner(self, text_encoder: TextEncoder = "model") -> Conditioner:
        """What makes conditioning of prompts; with `text_encoder` `openai` OpenAI's own CLIP reads them."""
        return Conditioner(self, text_encoder=text_encoder)
