"""Models that draw an image from its CLIP vector, which a prior makes of a prompt: unCLIP (arXiv 2204.06125).

Kandinsky 2.1 (ViT-L/14, 1x768) and 2.2 (ViT-bigG/14, 1x1280), and Stable unCLIP, whose image-to-image
pipeline takes the vector alone.
"""

import math
from typing import Any

from ..errors import UsageError
from .vector import Given, blend, image_vector, require_weight

__all__ = ["unclip"]


def unclip(
    pipe: Any, taste: Given, *, prior: Any = None, weight: float = 1.0, length: float | None = None
) -> dict[str, Any]:
    """The image vectors that an unCLIP pipeline takes, with a taste in them.

    Kandinsky: `pipe(**unclip(pipe, "my_taste.pt", prior=prior_pipe("a castle"), weight=0.3))`, where `prior`
    is what the prior's pipeline returned, whose own vector the taste is blended with (`weight` 0: that one
    bit for bit; 1: the taste alone) and whose negative is kept. Stable unCLIP (`StableUnCLIPImg2ImgPipeline`)
    has no prior: `pipe(prompt, **unclip(pipe, taste))`; where it has no image encoder, which it asks for
    nothing but its precision, it is given a stub. `taste` is a name, a file, a run, an `Embedding` or a
    tensor 1xD. The vector's `length` is the one given, else what the embedding's provenance says, else by the
    model's own statistics: the prior's vector, or Stable unCLIP's normaliser.

    Raises UsageError for a pipeline of another kind, or Kandinsky without a prior; EmbeddingSizeError for a
    vector of another CLIP, EmbeddingError.
    """
    require_weight(weight)
    if hasattr(pipe, "image_normalizer"):
        return _stable(pipe, taste, prior, weight, length)
    if not hasattr(pipe, "movq"):
        raise UsageError(f"{type(pipe).__name__} takes no image's vector: Kandinsky 2 and Stable unCLIP do")
    own, negative = (getattr(prior, name, None) for name in ("image_embeds", "negative_image_embeds"))
    if own is None or negative is None:
        raise UsageError("give prior=, what the prior's pipeline returned for the prompt: prior_pipe(prompt)")
    vector = image_vector(taste, own.shape[-1], wanted_by=type(pipe).__name__, length=length)
    own_length = float(own.float().norm(dim=-1).mean())
    return {"image_embeds": blend(own, vector, weight, own_length), "negative_image_embeds": negative}


def _stable(pipe: Any, taste: Given, prior: Any, weight: float, length: float | None) -> dict[str, Any]:
    if prior is not None or weight != 1:
        raise UsageError(
            "Stable unCLIP from a vector has no prior to blend with: leave prior= and weight= out"
        )
    mean, std = pipe.image_normalizer.mean.detach(), pipe.image_normalizer.std.detach()
    vector = image_vector(taste, mean.shape[-1], wanted_by=type(pipe).__name__, length=length)
    if not _takes_vector(pipe):
        raise UsageError(f"{type(pipe).__name__} takes no image_embeds: use StableUnCLIPImg2ImgPipeline")
    if getattr(pipe, "image_encoder", None) is None:
        pipe.image_encoder = _stub(pipe)
    usual = math.sqrt(float((mean.double() ** 2 + std.double() ** 2).sum()))  # the root of E |x|^2
    raw = vector.image(usual).to(device=pipe._execution_device, dtype=pipe.unet.dtype)
    return {"image_embeds": raw}


def _takes_vector(pipe: Any) -> bool:
    import inspect

    return "image_embeds" in inspect.signature(type(pipe).__call__).parameters


def _stub(pipe: Any) -> Any:
    """An image encoder of no use but to have a device and a precision, which the pipeline asks for."""
    from torch import nn, zeros

    class Precision(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            value = zeros((), dtype=pipe.unet.dtype, device=pipe.unet.device)
            self.value = nn.Parameter(value, requires_grad=False)
            self.dtype, self.device = value.dtype, value.device

    return Precision()
