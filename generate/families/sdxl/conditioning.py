"""How Stable Diffusion XL is conditioned: penultimate states of two encoders, one's feature."""

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


def plain(pipe: Any, asked: Asked) -> dict[str, Tensor]:
    """What the pipeline makes of prompts: embeds `[N, L, D]` and pooled ones `[N, D]`, with negatives."""
    return dict(zip(NAMES, pipe.encode_prompt(**asked, do_classifier_free_guidance=True), strict=True))


FAMILY = Family(
    name="Stable Diffusion XL",
    encoders=(
        Encoder(skipped=1),
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
