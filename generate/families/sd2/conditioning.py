"""How Stable Diffusion 2.x is conditioned: by the last state but one of OpenCLIP's ViT-H, normed.

diffusers' folders hold 23 of its 24 layers, so that to them it is the last one.
"""

from ..family import VIT_H, Encoder, Family
from ..sd1.conditioning import plain
from .text_encoder import last_layer, text_projection

__all__ = ["FAMILY"]

FAMILY = Family(
    name="Stable Diffusion 2.x",
    encoders=(
        Encoder(
            width=1024, size=1024, space=VIT_H, normed=True, published=text_projection, missing=last_layer
        ),
    ),
    plain=plain,
    chunked=True,
)
