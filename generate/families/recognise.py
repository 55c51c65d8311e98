"""A diffusers pipeline -> its family, by its components; what is none of ours is named as what it is."""

from typing import Any

from visunex.base.errors import described

from ..errors import SteeringError, UsageError
from .family import Family

__all__ = ["family_of"]

WITHOUT = "aesthetic gradients move a CLIP text encoder"


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
    encoders = sorted(
        type(pipe.components[name]).__name__ for name in parts if name.startswith("text_encoder")
    )
    raise SteeringError(
        f"{type(pipe).__name__} reads prompts by {' and '.join(encoders) or 'no text encoder'}: {WITHOUT}, "
        "and of this kind of model it is not known which part of one conditions"
    )


def _of_unet(pipe: Any) -> Family:
    if "text_encoder_2" in pipe.components:
        from .sdxl.conditioning import FAMILY
    else:
        from .sd1.conditioning import FAMILY
    return FAMILY
