"""How FLUX.1 is conditioned: by CLIP-L's feature, not projected, beside T5's states."""

from typing import Any

from torch import Tensor

from ..family import GUIDED, Asked, Encoder, Family

__all__ = ["FAMILY", "plain"]

NEGATIVES = ("negative_prompt", "negative_prompt_2")


def plain(pipe: Any, asked: Asked) -> dict[str, Tensor]:
    """What the pipeline makes of prompts: T5's `prompt_embeds` `[N, L, D]`, CLIP's pooled ones `[N, 768]`.

    Negatives only where a negative prompt is given: without one FLUX.1 has no second pass.
    """
    own = {name: value for name, value in asked.items() if name not in {*NEGATIVES, *GUIDED}}
    found = _encoded(pipe, own, "")
    if "negative_prompt" not in asked:
        return found
    negative = {"prompt": asked["negative_prompt"], "prompt_2": asked.get("negative_prompt_2")}
    return found | _encoded(pipe, own | negative, "negative_")


def _encoded(pipe: Any, asked: Asked, prefix: str) -> dict[str, Tensor]:
    states, pooled, _ = pipe.encode_prompt(**asked)
    return {f"{prefix}prompt_embeds": states, f"{prefix}pooled_prompt_embeds": pooled}


FAMILY = Family(
    name="FLUX.1",
    encoders=(Encoder(skipped=None, pooled="plain"),),
    plain=plain,
    beside=NEGATIVES,
    about="a taste reaches FLUX.1 by CLIP's pooled feature alone, which is little of what conditions it: an "
    "experiment",
)
