"""How Stable Diffusion 3 and 3.5 are conditioned: states and features of two encoders, beside T5."""

from typing import Any

from torch import Tensor

from ..family import BIG_G, Asked, Encoder, Family

__all__ = ["FAMILY", "plain"]

NAMES = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)
REQUIRED: dict[str, Any] = {"prompt_2": None, "prompt_3": None}  # it has no defaults for these


def plain(pipe: Any, asked: Asked) -> dict[str, Tensor]:
    """What the pipeline makes of prompts: embeds `[N, L, D]`, CLIP's rows and T5's; pooled ones `[N, D]`."""
    found = pipe.encode_prompt(**REQUIRED | dict(asked), do_classifier_free_guidance=True)
    return dict(zip(NAMES, found, strict=True))


FAMILY = Family(
    name="Stable Diffusion 3",
    encoders=(
        Encoder(skipped=1, pooled="projected"),
        Encoder(
            part="text_encoder_2",
            tokenizer="tokenizer_2",
            prompt="prompt_2",
            width=1280,
            size=1280,
            space=BIG_G,
            skipped=1,
            pooled="projected",
        ),
    ),
    plain=plain,
)
