"""Stable Diffusion 3 or 3.5 on a device."""

from dataclasses import dataclass
from typing import ClassVar

from .. import flow
from . import parts
from .conditioning import FAMILY

__all__ = ["Model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(flow.Model, parts.Parts):
    """One Stable Diffusion 3 model on a device; transformer, VAE and T5 in `dtype`, CLIP in fp32."""

    KIND, FAMILY = "sd3", FAMILY
    PIPELINES: ClassVar = {
        "text": "StableDiffusion3Pipeline",
        "image": "StableDiffusion3Img2ImgPipeline",
        "inpaint": "StableDiffusion3InpaintPipeline",
    }
