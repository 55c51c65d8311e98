"""Stable Diffusion 2.x on a device."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..family import VIT_H, Family
from ..outline import SAMPLE_SIZES
from ..sd1.model import Model as First
from . import parts
from .conditioning import FAMILY
from .text_encoder import WIDTH

__all__ = ["Model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(First, parts.Parts):
    """One Stable Diffusion 2.x model on a device; UNet and VAE in `dtype`, the text encoder in fp32."""

    KIND, FAMILY = "sd2", FAMILY
    SAMPLE_SIZE, AS_ORIGINAL = SAMPLE_SIZES["sd2"], False

    @property
    def family(self) -> Family:
        """How it is conditioned; the last layer is the model's own where it brings it."""
        layer = self.last_layer
        if layer is None:
            return self.FAMILY
        (encoder,) = self.FAMILY.encoders
        return replace(self.FAMILY, encoders=(replace(encoder, missing=lambda _: layer),))

    @property
    def clip(self) -> Mapping[str, str] | None:
        """ViT-H, whose text side was not trained, where the model brings its own copy of the projection."""
        own = self.own_projection
        if own is None or own.shape != (WIDTH, WIDTH):
            return None
        name, _, pretrained = VIT_H.partition(":")
        return {"name": name, "pretrained": pretrained}
