"""FLUX.1 on a device."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from .. import flow
from ..outline import PATCH
from . import parts
from .conditioning import FAMILY

__all__ = ["Model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(flow.Model, parts.Parts):
    """One FLUX.1 model on a device; transformer, VAE and T5 in `dtype`, CLIP in fp32.

    Its guidance was distilled into the transformer (dev), or it has none (schnell): there is no second pass.
    """

    KIND, FAMILY = "flux", FAMILY
    PIPELINES: ClassVar = {
        "text": "FluxPipeline",
        "image": "FluxImg2ImgPipeline",
        "inpaint": "FluxInpaintPipeline",
    }

    @property
    def channels(self) -> int:
        """Channels of a latent: 16."""
        return super().channels // PATCH**2

    @property
    def guided(self) -> bool:
        """No second pass."""
        return False

    def starting(self, latents: Tensor) -> Any:
        """Noise `[n, C, h, w]` as rows of patches `[n, hw/4, 4C]`, in the transformer's dtype."""
        from diffusers import FluxPipeline

        return FluxPipeline._pack_latents(super().starting(latents), *latents.shape)
