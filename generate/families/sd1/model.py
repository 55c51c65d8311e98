"""Stable Diffusion 1.x on a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...checkpoint.kinds import Family as Kind
from .. import model
from ..outline import SAMPLE_SIZES
from ..parts import UNetParts
from .checkpoint import SCALING
from .conditioning import FAMILY

__all__ = ["Model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(model.Model, UNetParts):
    """One Stable Diffusion 1.x model on a device; UNet and VAE in `dtype`, the text encoder in fp32."""

    KIND: ClassVar[Kind] = "sd1"
    FAMILY = FAMILY
    PIPELINES: ClassVar = {
        "text": "StableDiffusionPipeline",
        "image": "StableDiffusionImg2ImgPipeline",
        "inpaint": "StableDiffusionInpaintPipeline",
    }
    SAMPLE_SIZE, SCALING, AS_ORIGINAL = SAMPLE_SIZES["sd1"], SCALING, True

    @property
    def pipeline_options(self) -> Mapping[str, Any]:
        """No safety checker: the command has one of its own."""
        return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
