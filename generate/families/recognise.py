"""A diffusers pipeline -> its family, by its components; what is none of ours is named as what it is."""

from typing import Any

from visunex.base.errors import described

from ..errors import SteeringError, UsageError
from ..steering.arguments import text_model_of
from .family import Family

__all__ = ["family_of"]

VIT_H_WIDTH = 1024  # of the text encoder by which Stable Diffusion 2.x is told from 1.x
WITHOUT = "aesthetic gradients move a CLIP text encoder"
INSTEAD = (
    "What serves there: words for the taste (`visunex-export --to prompt`), or its pictures put in order "
    "(`visunex-data rank`)"
)


def family_of(pipe: Any) -> Family:
    """The family of a pipeline of diffusers, of whatever task.

    Raises UsageError for what is no such pipeline, SteeringError for a family that cannot be steered.
    """
    if not callable(getattr(pipe, "encode_prompt", None)) or not isinstance(
        getattr(pipe, "components", None), dict
    ):
        raise UsageError(f"pipe is {described(pipe)}: give a pipeline of diffusers that takes prompts")
    parts = {name for name, part in pipe.components.items() if part is not None}
    if "unet" in parts and {"text_encoder", "text_encoder_2"} & parts:
        return _of_unet(pipe)
    if family := _of_transformer(pipe.components.get("transformer")):
        return family
    encoders = sorted(
        type(pipe.components[name]).__name__ for name in parts if name.startswith("text_encoder")
    )
    raise SteeringError(
        f"{type(pipe).__name__} reads prompts by {' and '.join(encoders) or 'no text encoder'}: {WITHOUT}, "
        f"and {_why(encoders)}. {INSTEAD}"
    )


def _why(encoders: list[str]) -> str:
    if any(name.startswith("CLIPText") for name in encoders):
        return "in this kind of model little or nothing of what conditions comes from one"
    return "this kind of model has none"


def _of_transformer(transformer: Any) -> Family | None:
    kind = type(getattr(transformer, "_orig_mod", transformer)).__name__
    if kind == "SD3Transformer2DModel":
        from .sd3.conditioning import FAMILY
    elif kind == "FluxTransformer2DModel":
        from .flux.conditioning import FAMILY
    else:
        return None
    return FAMILY


def _of_unet(pipe: Any) -> Family:
    if "text_encoder_2" in pipe.components:
        from .sdxl.conditioning import FAMILY
    elif text_model_of(pipe.text_encoder).config.hidden_size == VIT_H_WIDTH:
        from .sd2.conditioning import FAMILY
    else:
        from .sd1.conditioning import FAMILY
    return FAMILY
