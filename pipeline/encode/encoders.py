"""The image encoders that a recipe asks for: its own, and those that see the same images in the same pass."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visunex.clip.errors import DeviceMemoryError
from visunex.clip.factory import load_image_encoder
from visunex.clip.image_encoder import ImageEncoder

if TYPE_CHECKING:
    from visunex.recipes.schema import Encode

__all__ = ["Target", "load_encoder", "load_encoders", "shares_memory"]


@dataclass(frozen=True, eq=False)
class Target:
    """An encoder, and the folder that its vectors go to; `settings` name it, and how it encodes.

    Files call it by its `space`, empty for the recipe's own.
    """

    encoder: ImageEncoder
    folder: Path
    settings: "Encode"
    space: str = ""


def load_encoders(settings: "Encode", device: str = "auto") -> tuple[ImageEncoder, ...]:
    """The recipe's image encoder, then those of `also`, all on one device.

    Raises ModelError; DeviceMemoryError where they do not all fit into the device's memory.
    """
    with shares_memory(1 + len(settings.also)):
        return tuple(load_encoder(each, device) for each in settings.of_each)


@contextlib.contextmanager
def shares_memory(encoders: int) -> Iterator[None]:
    """Have an error for want of memory say that several encoders share it."""
    try:
        yield
    except DeviceMemoryError as error:
        if encoders == 1:
            raise
        raise DeviceMemoryError(
            f"{error}; {encoders} encoders share that memory: with one --also at a time they need less, and "
            "what is encoded in a run is kept"
        ) from None


def load_encoder(settings: "Encode", device: str = "auto") -> ImageEncoder:
    """The image encoder that the section `encode` of a recipe asks for, on its device. Raises ModelError."""
    return load_image_encoder(
        settings.model,
        settings.pretrained,
        precision=settings.precision,
        device=device,
        exact_decode=settings.exact_decode,
        preprocess=settings.preprocess,
        compiled=settings.compile,
    )
