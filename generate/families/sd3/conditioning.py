"""How Stable Diffusion 3 and 3.5 are conditioned: states and features of two encoders, beside T5."""

from typing import Any

from torch import Tensor

from ..family import BESIDE_CLIP_L, CONDITIONING, GUIDED, Asked, Encoder, Family

__all__ = ["FAMILY", "plain"]

REQUIRED: dict[str, Any] = {"prompt_2": None, "prompt_3": None}  # it has no defaults for these


def plain(pipe: Any, asked: Asked) -> dict[str, Tensor]:
    """What the pipeline makes of prompts: embeds `[N, L, D]`, CLIP's rows and T5's; pooled ones `[N, D]`."""
    found = pipe.encode_prompt(**GUIDED | REQUIRED | dict(asked))
    return dict(zip(CONDITIONING, found, strict=True))


FAMILY = Family(
    name="Stable Diffusion 3",
    encoders=(
        Encoder(skipped=1, pooled="projected"),
        BESIDE_CLIP_L,
    ),
    plain=plain,
)
