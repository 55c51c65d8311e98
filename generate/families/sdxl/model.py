"""SDXL on a device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...settings import TextEncoder
from .. import model
from ..outline import SAMPLE_SIZES
from ..prompts import Conditioning
from ..sd1.text_encoder import CLIP_L, WIDTH, text_projection
from . import parts
from .checkpoint import SCALING
from .prompts import Conditioner

__all__ = ["Model"]

BIG_G = {"name": "ViT-bigG-14", "pretrained": "laion2b_s39b_b160k"}  # as open_clip calls it
WIDTH_2 = 1280  # of its text encoder


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(model.Model, parts.Parts):
    """One SDXL model on a device; the UNet in `dtype`, text encoders in fp32, and so a VAE that overflows."""

    SAMPLE_SIZE, SCALING, AS_ORIGINAL = SAMPLE_SIZES["sdxl"], SCALING, False

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers each text encoder's projected feature has: 768 and 1280."""
        own, width = self.own_projection, self.text_encoder.config.hidden_size
        return width if own is None else len(own), self.text_encoder_2.config.projection_dim

    @property
    def clips(self) -> Sequence[Mapping[str, str] | None]:
        """The CLIPs in whose spaces prompts are moved; None where nothing says which one is."""
        widths = (self.text_encoder.config.hidden_size, self.text_encoder_2.config.hidden_size)
        return (
            CLIP_L if self.own_projection is None and widths[0] == WIDTH else None,
            BIG_G if widths[1] == WIDTH_2 else None,
        )

    def projection(self, number: int) -> Tensor:
        """An encoder's text projection `[D_proj, D]`; the first has OpenAI's. Raises CheckpointError."""
        return self._first_projection if number == 0 else self.text_encoder_2.text_projection.weight.detach()

    @cached_property
    def _first_projection(self) -> Tensor:
        own = self.own_projection
        return text_projection(self.text_encoder.config.hidden_size) if own is None else own

    def conditioner(self, text_encoder: TextEncoder = "model") -> Conditioner:
        """What makes conditioning of prompts. Raises UsageError for `openai`, which SDXL's first is."""
        return Conditioner(self, text_encoder=text_encoder)

    def added(self, cond: Conditioning, height: int, width: int) -> Mapping[str, Tensor]:
        """The pooled features, and the pictures' size as if they had been trained on whole, uncropped."""
        times = torch.tensor([[height, width, 0, 0, height, width]], device=self.device, dtype=self.dtype)
        pooled = cond.hidden if cond.pooled is None else cond.pooled
        return {"text_embeds": pooled.to(self.dtype), "time_ids": times.repeat(len(cond.hidden), 1)}
