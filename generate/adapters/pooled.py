"""SDXL's pooled vector: a text feature of ViT-bigG/14, where an image's vector may stand."""

from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .vector import Given, blend, image_vector, require_weight

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["pooled"]


def pooled(
    pipe: Any,
    prompt: "str | list[str] | None",
    taste: Given,
    *,
    weight: float = 0.5,
    length: float | None = None,
    conditioning: "Mapping[str, Any] | None" = None,
    **prompts: Any,
) -> dict[str, Any]:
    """The conditioning of an SDXL pipeline with a taste in its pooled vector, without gradients.

    `image = pipe(**pooled(pipe, "a castle", "my_taste.pt", weight=0.5)).images[0]`. `taste` is a 1x1280 of
    ViT-bigG/14: a name, a file, a run, an `Embedding` or a tensor. `weight` is its share, from 0 (the prompt
    alone, bit for bit) to 1. `length` is that of one image's vector; without it the embedding's provenance
    says it, else the prompt's own pooled vector. `prompts` are further arguments of the pipeline's
    `encode_prompt` (`negative_prompt`, `prompt_2`, `clip_skip`). `conditioning`, such as `steered` gives, is
    taken instead of the prompt's own.

    Raises UsageError for a pipeline without a pooled vector, EmbeddingSizeError for a vector of another CLIP,
    EmbeddingError.
    """
    require_weight(weight)
    given = dict(conditioning) if conditioning is not None else _encoded(pipe, prompt, prompts)
    own = given.get("pooled_prompt_embeds")
    if own is None or own.ndim != 2:
        raise UsageError("conditioning has no pooled_prompt_embeds [N, D]: give what an SDXL pipeline takes")
    vector = image_vector(taste, own.shape[-1], wanted_by="SDXL's pooled vector", length=length)
    return given | {"pooled_prompt_embeds": blend(own, vector, weight)}


def _encoded(pipe: Any, prompt: "str | list[str] | None", prompts: dict[str, Any]) -> dict[str, Any]:
    import torch

    config = getattr(getattr(pipe, "unet", None), "config", None)
    if getattr(config, "addition_embed_type", None) != "text_time" or not hasattr(pipe, "encode_prompt"):
        raise UsageError(
            f"{type(pipe).__name__} takes no pooled vector: this is for SDXL pipelines of diffusers"
        )
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    with torch.no_grad():
        values = pipe.encode_prompt(prompt, do_classifier_free_guidance=True, **prompts)
    return dict(zip(names, values, strict=True))
