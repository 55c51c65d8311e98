"""A perceptual hash: near for images that look alike."""

from typing import Any

from PIL import Image

from .decode import opened

__all__ = ["difference_hash"]


def difference_hash(data: bytes) -> int:
    """A 64-bit perceptual hash: whether each of 8 x 8 spots is brighter than its right neighbour (dHash).

    Raises whatever Pillow raises when the image cannot be decoded.
    """
    with opened(data) as image:
        image.draft("L", (64, 64))
        grey: Any = image.convert("L").resize((9, 8), Image.Resampling.BOX)
    pixels = grey.tobytes()
    bits = (
        pixels[9 * row + column] > pixels[9 * row + column + 1] for row in range(8) for column in range(8)
    )
    return sum(bit << position for position, bit in enumerate(bits))
