"""The image encoder that a recipe asks for."""

from typing import TYPE_CHECKING

from visunex.clip.factory import load_image_encoder

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder
    from visunex.recipes.schema import Encode

__all__ = ["load_encoder"]


def load_encoder(settings: "Encode", device: str = "auto") -> "ImageEncoder":
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
