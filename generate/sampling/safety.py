"""The safety checker of Stable Diffusion 1.x, for images of any model: what it objects to is blacked out."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from visunex.base.errors import first_line
from visunex.base.machine import is_memory_shortage

from ..errors import CheckpointError
from ..families.model import Model
from .memory import enough_memory

__all__ = ["load_checker"]

HUB_NAME = "CompVis/stable-diffusion-safety-checker"

Images = tuple[Image.Image, ...]


def load_checker(model: Model) -> Callable[[Images], tuple[Images, int]]:
    """The model folder's own checker, else CompVis's from the Hub, as a function on images.

    It returns them, those objected to in black, and their number. Raises CheckpointError when there is none.
    """
    enough = partial(enough_memory, "the safety checker", str(model.device), "leaving --safety_checker out")
    with enough():
        checker, extractor = _load(model.name)
        checker = checker.to("cpu" if model.lowvram else model.device)

    def check(images: Images) -> tuple[Images, int]:
        with enough("a smaller --n_samples"):
            return verdict(images)

    def verdict(images: Images) -> tuple[Images, int]:
        pixels = extractor(list(images), return_tensors="pt").pixel_values
        with torch.inference_mode(), model.on_device(checker) as there:
            # the checker blacks out the arrays it is given; only its verdicts are wanted
            _, objections = there(clip_input=pixels.to(model.device), images=[torch.zeros(1) for _ in images])
        kept = [
            Image.new("RGB", image.size) if bad else image
            for image, bad in zip(images, objections, strict=True)
        ]
        return tuple(kept), sum(map(bool, objections))

    return check


def _load(name: str) -> tuple[Any, Any]:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    own = Path(name) / "safety_checker"
    try:
        if own.is_dir():
            checker = StableDiffusionSafetyChecker.from_pretrained(own)
            return checker.eval(), CLIPImageProcessor.from_pretrained(Path(name) / "feature_extractor")
        checker = StableDiffusionSafetyChecker.from_pretrained(HUB_NAME)
        return checker.eval(), CLIPImageProcessor.from_pretrained(HUB_NAME)
    except (OSError, ValueError) as error:
        if is_memory_shortage(error):
            raise
        raise CheckpointError(
            f"the safety checker {HUB_NAME} is not on this machine and cannot be fetched "
            f"({first_line(error)}); bring it with `hf download {HUB_NAME}`, or leave --safety_checker out"
        ) from None
