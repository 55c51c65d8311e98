"""SDXL on a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import model
from ..outline import SAMPLE_SIZES
from . import parts
from .checkpoint import SCALING
from .conditioning import FAMILY

__all__ = ["Model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(model.Model, parts.Parts):
    """One SDXL model on a device; the UNet in `dtype`, text encoders in fp32, and so a VAE that overflows."""

    KIND, FAMILY = "sdxl", FAMILY
    PIPELINES: ClassVar = {
        "text": "StableDiffusionXLPipeline",
        "image": "StableDiffusionXLImg2ImgPipeline",
        "inpaint": "StableDiffusionXLInpaintPipeline",
    }
    SAMPLE_SIZE, SCALING, AS_ORIGINAL = SAMPLE_SIZES["sdxl"], SCALING, False

    @property
    def pipeline_options(self) -> Mapping[str, Any]:
        """Zeros for an empty negative prompt where the model was trained so; no watermark."""
        return {"force_zeros_for_empty_prompt": self.zeros, "add_watermarker": False}

    def added(self, pooled: Tensor | None, height: int, width: int) -> Mapping[str, Tensor] | None:
        """The pooled features, and the pictures' size as if they had been trained on whole, uncropped."""
        if pooled is None:
            return None
        times = torch.tensor([[height, width, 0, 0, height, width]], device=self.device, dtype=self.dtype)
        return {"text_embeds": pooled.to(self.dtype), "time_ids": times.repeat(len(pooled), 1)}
