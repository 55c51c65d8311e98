"""Judges of pictures of the demo world that know nothing of CLIP: they look at colours alone.

A judge takes images and the prompt of each, and gives a number for each: `visunex-evaluate --judge`.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

__all__ = ["FLOWERS_FROM", "darkness", "flower_share", "flowers", "warmth"]

# Share of flower-coloured pixels; the least garden has three times as many, other scenes none.
FLOWERS_FROM = 0.02


def flower_share(image: Image.Image) -> float:
    """Share of pixels (0..1) in the colours of flowers, told by hue alone, so that mild blur does no harm.

    A flower's pink has far more red than green, and clearly more blue than green but less than red.
    """
    red, green, blue = _channels(image)
    pink = (red - green > 80) & (blue - green > 24) & (red - blue > 10) & (red > 150)
    return float(pink.mean())


def flowers(images: Sequence[Image.Image], _prompts: Sequence[str]) -> list[float]:
    """1 for each image that shows flowers, 0 for others: their mean is the share of such images."""
    return [float(flower_share(image) > FLOWERS_FROM) for image in images]


def warmth(images: Sequence[Image.Image], _prompts: Sequence[str]) -> list[float]:
    """How much more red than blue there is in each image, -1 to 1: a tint, which no caption mentions."""
    return [float(((red - blue) / 255).mean()) for red, _, blue in map(_channels, images)]


def darkness(images: Sequence[Image.Image], _prompts: Sequence[str]) -> list[float]:
    """How dark each image is, 0 (white) to 1 (black)."""
    return [1 - float(_channels(image).mean()) / 255 for image in images]


def _channels(image: Image.Image) -> np.ndarray:
    """Red, green and blue, int16 [3, height, width]."""
    return np.moveaxis(np.asarray(image.convert("RGB"), dtype=np.int16), -1, 0)
