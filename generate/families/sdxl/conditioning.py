"""How Stable Diffusion XL is conditioned: penultimate states of two encoders, one's feature."""

from typing import Any

from torch import Tensor

from ..family import BESIDE_CLIP_L, CONDITIONING, GUIDED, Asked, Encoder, Family

__all__ = ["FAMILY", "plain"]


def plain(pipe: Any, asked: Asked) -> dict[str, Tensor]:
    """What the pipeline makes of prompts: embeds `[N, L, D]` and pooled ones `[N, D]`, with negatives."""
    return dict(zip(CONDITIONING, pipe.encode_prompt(**GUIDED | dict(asked)), strict=True))


FAMILY = Family(
    name="Stable Diffusion XL",
    encoders=(
        Encoder(skipped=1),
        BESIDE_CLIP_L,
    ),
    plain=plain,
    chunked=True,
)
