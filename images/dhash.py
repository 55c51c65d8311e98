"""A perceptual hash: near for images that look alike."""

from typing import Any

from PIL import Image

from .decode import decode

__all__ = ["difference_hash"]


def difference_hash(data: bytes) -> int:
    """A 64-bit perceptual hash: whether each of 8 x 8 spots is brighter than its right neighbour (dHash).

    Of what a person sees. Raises ImageError when the image cannot be decoded.
    """
    view = decode(data, 64)
    grey: Any = view.image.convert("L").resize((9, 8), Image.Resampling.BOX, box=view.box)
    pixels = grey.tobytes()
    bits = (
        pixels[9 * row + column] > pixels[9 * row + column + 1] for row in range(8) for column in range(8)
    )
    return sum(bit << position for position, bit in enumerate(bits))
