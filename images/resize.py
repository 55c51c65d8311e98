"""An image's file -> a smaller JPEG of what a person sees in it: upright, with its colour profile."""

import io
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from .decode import Box, View, decode
from .errors import ImageError

__all__ = ["Resize", "ResizeMode", "Resized", "resize"]

ResizeMode = Literal["shortest", "longest", "center-crop"]

_QUALITY = 95
_LONGEST = 65_500  # pixels of a side that libjpeg writes


@dataclass(frozen=True)
class Resize:
    """How large an image becomes: its shorter or its longer side `size`, or the square in its middle.

    Images are made smaller, never larger.
    """

    size: int
    mode: ResizeMode = "shortest"


@dataclass(frozen=True)
class Resized:
    """A JPEG's bytes, its width and height, and those that a person saw before."""

    data: bytes
    size: tuple[int, int]
    original: tuple[int, int]


def resize(data: bytes, how: Resize) -> Resized:
    """The image in a file's bytes, decoded as for the encoders and resized, as a JPEG.

    Raises ImageError as `decode` does, and too_long where no JPEG can hold the result.
    """
    whole = decode(data)
    original = whole.image.size
    box = _middle(whole.box) if how.mode == "center-crop" else whole.box
    size = _size_of(box, how)
    if max(size) > _LONGEST:
        raise ImageError("too_long", f"{size[0]}x{size[1]} pixels are more than a JPEG holds")
    return Resized(_jpeg(whole, box, size), size, original)


def _size_of(box: Box, how: Resize) -> tuple[int, int]:
    width, height = box[2] - box[0], box[3] - box[1]
    side = max(width, height) if how.mode == "longest" else min(width, height)
    scale = min(1.0, how.size / side)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _middle(box: Box) -> Box:
    """The largest square in the middle of a box, on whole pixels."""
    left, top, right, bottom = (round(edge) for edge in box)
    side = min(right - left, bottom - top)
    left, top = (left + right - side) // 2, (top + bottom - side) // 2
    return left, top, left + side, top + side


def _jpeg(view: View, box: Box, size: tuple[int, int]) -> bytes:
    image = view.image.resize(size, Image.Resampling.LANCZOS, box=box)
    if view.profile is not None and view.profile[16:20] == b"GRAY":
        image = image.convert("L")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, icc_profile=view.profile)
    return file.getvalue()
