"""The encoders that judge, each loaded once: pictures and prompts to unit vectors of a space."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from visunex.aesthetic_embeddings.space import Space
from visunex.clip import load_image_encoder, load_text_encoder
from visunex.recipes.encoders import DEFAULT_WEIGHTS, parse_encoder

from .errors import UsageError
from .measures import Floats, unit

if TYPE_CHECKING:
    from visunex.clip import ImageEncoder, TextEncoder

__all__ = ["Encoders", "space_named"]


class Encoders:
    """Image and text encoders on one device, by the space of their vectors."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._image = lru_cache(maxsize=None)(self._load_image)
        self._text = lru_cache(maxsize=None)(self._load_text)

    def image(self, space: Space) -> "ImageEncoder":
        """The image encoder of a space, in fp32. Raises ModelError."""
        return self._image(space)

    def images(self, space: Space, images: Sequence[Image.Image]) -> Floats:
        """Unit vectors `[n, D]` of images."""
        encoder = self._image(space)
        squares = np.stack([encoder.preprocessing.square(image.convert("RGB")) for image in images])
        return unit(encoder.encode(squares))

    def texts(self, space: Space, texts: Sequence[str]) -> Floats:
        """Unit vectors `[n, D]` of texts. Raises ModelError where the space has no text encoder here."""
        return unit(self._text(space).encode(texts))

    def _load_image(self, space: Space) -> "ImageEncoder":
        return load_image_encoder(
            space.name, space.pretrained or DEFAULT_WEIGHTS, precision="fp32", device=self.device
        )

    def _load_text(self, space: Space) -> "TextEncoder":
        return load_text_encoder(space.name, space.pretrained or DEFAULT_WEIGHTS, device=self.device)


def space_named(text: str, option: str) -> Space:
    """The space of an encoder as options name it: `ViT-L-14:openai`. Raises UsageError."""
    from visunex.clip.identity import model_of

    try:
        named = parse_encoder(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    return Space(*model_of(named.model, named.pretrained))
