"""How Stable Diffusion 1.x is conditioned: by the last hidden state of CLIP-L."""

from typing import Any

from torch import Tensor

from ..family import GUIDED, Asked, Encoder, Family

__all__ = ["FAMILY", "plain"]


def plain(pipe: Any, asked: Asked) -> dict[str, Tensor]:
    """What the pipeline itself makes of prompts: `prompt_embeds` and `negative_prompt_embeds` `[N, L, D]`."""
    positive, negative = pipe.encode_prompt(**GUIDED | dict(asked))
    return {"prompt_embeds": positive, "negative_prompt_embeds": negative}


FAMILY = Family(name="Stable Diffusion 1.x", encoders=(Encoder(normed=True),), plain=plain, chunked=True)
