"""An image's file -> the square of pixels that an image encoder takes. Knows Pillow, not torch.

OpenAI CLIP's own preprocessing (github openai/CLIP, `clip/clip.py`, `_transform`): shorter side to the
encoder's size with Pillow's antialiased bicubic, centre crop. What CLIP leaves open (alpha, EXIF orientation,
16 bits, animations) `visunex.images.decode` decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visunex.images.decode import Box, View, decode, decoded_size
from visunex.images.errors import ImageError

Pixels = NDArray[np.uint8]

_MAX_RESIZED = 2**24  # pixels of a resized image before its crop
_LONGEST = 4  # times the shorter side: longer images are not resized whole on the device
# Raise it when the same file gives other pixels: vectors made before are then not mixed with new ones.
VERSION = 2


@dataclass(frozen=True)
class Preprocessing:
    """How an encoder wants its images. `mean` and `std` are of RGB in 0..1, applied on the device.

    Unless `exact`, a JPEG four times as large as is needed is decoded at 1/2, 1/4 or 1/8 of its size (by
    libjpeg, of fewer DCT coefficients), so that at least twice the encoder's size is left to the resize, and
    of a resized image only the part is made that the crop keeps. `exact` gives OpenAI's pixels to the bit.
    `on_device` leaves the resize to the device.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize: Literal["shortest", "squash"] = "shortest"
    exact: bool = False
    on_device: bool = False

    @property
    def most_bytes(self) -> int:
        """The most that `seen` gives of an image: for the device, 3:2 of four times the size."""
        return (24 if self.on_device else 1) * 3 * self.size**2

    @property
    def pixels_alone(self) -> "Preprocessing":
        """The same of what `seen` depends on: encoders for which this is equal take the same pixels."""
        plain = Preprocessing()
        return replace(self, mean=plain.mean, std=plain.std)

    def seen(self, data: bytes) -> "Seen":
        """The image in a file's bytes: `on_device` as it was decoded, else as a square.

        An image that is larger than `most_bytes` or much longer than wide becomes a square in any case.
        Raises ImageError.
        """
        return self.seen_of(self._view(data))

    def seen_of(self, view: View) -> "Seen":
        """The same of an image that was decoded as this one has it decoded."""
        whole = self._whole(view) if self.on_device else None
        return whole or Seen(self._square(view), (self.size, self.size))

    def seen_image(self, image: Image.Image) -> "Seen":
        """The same of an RGB image that lies in no file."""
        return self.seen_of(View(image, (0, 0, *image.size)))

    def pixels(self, data: bytes) -> Pixels:
        """The image in a file's bytes as uint8 [size, size, 3]. Raises ImageError."""
        return self._square(self._view(data))

    def square(self, image: Image.Image) -> Pixels:
        """An RGB image, resized and cropped to uint8 [size, size, 3]."""
        return self._square(View(image, (0, 0, *image.size)))

    def _view(self, data: bytes) -> View:
        return decode(data, self.enough)

    @property
    def enough(self) -> int | None:
        """The pixels to which a JPEG may be reduced while it is decoded; None: not at all."""
        return None if self.exact else 2 * self.size

    def _whole(self, view: View) -> "Seen | None":
        """The image as it was decoded, for a resize elsewhere; None where it would take too much room."""
        resized = (self.size, self.size) if self.resize == "squash" else _resized(view.size, self.size)
        left, top, right, bottom = (round(edge) for edge in view.box)
        if 3 * (right - left) * (bottom - top) > self.most_bytes or max(resized) > _LONGEST * self.size:
            return None
        return Seen(np.asarray(view.image)[top:bottom, left:right], resized)

    def _square(self, view: View) -> Pixels:
        filter_ = Image.Resampling[self.interpolation.upper()]
        if self.resize == "squash":
            return np.asarray(view.image.resize((self.size, self.size), filter_, box=view.box))
        return np.asarray(_shortest(view, self.size, filter_, exact=self.exact))


@dataclass(frozen=True)
class Seen:
    """An image, uint8 [h, w, 3], and the width and height that it is to have before it is cropped."""

    pixels: Pixels
    resized: tuple[int, int]


def seen_by(data: bytes, wanted: "Sequence[Preprocessing]") -> "list[Seen | ImageError]":
    """The image in a file's bytes as each of several encoders wants it; or why it cannot be had.

    It is decoded once for all that have it decoded at the same size.
    """
    views: dict[tuple[int, int] | int | None, View] = {}
    found: list[Seen | ImageError] = []
    for how in wanted:
        same = (decoded_size(data, how.enough) if len(wanted) > 1 else None) or how.enough
        try:
            if same not in views:
                views[same] = decode(data, how.enough)
            found.append(how.seen_of(views[same]))
        except ImageError as error:
            found.append(error)
    return found


def _shortest(view: View, target: int, filter_: Image.Resampling, *, exact: bool) -> Image.Image:
    """Shorter side to `target`, centre crop, with the roundings of torchvision's Resize and CenterCrop."""
    wide, high = _resized(view.size, target)
    left, top = centre(wide, target), centre(high, target)
    if exact and wide * high <= _MAX_RESIZED:
        return view.image.resize((wide, high), filter_).crop((left, top, left + target, top + target))
    # Resizing only the part that is kept is the same up to the order in which Pillow takes rows and columns.
    # It must be where an image of 10000 x 10 would grow to 224000 x 224.
    (x, y, _, _), across, down = view.box, view.size[0] / wide, view.size[1] / high
    kept = (x + left * across, y + top * down, x + (left + target) * across, y + (top + target) * down)
    return view.image.resize((target, target), filter_, box=_within(kept, view.image.size))


def _resized(size: tuple[float, float], target: int) -> tuple[int, int]:
    short = min(size)
    return int(target * size[0] / short), int(target * size[1] / short)


def centre(side: int, target: int) -> int:
    """Where the middle `target` pixels of `side` begin."""
    return round((side - target) / 2.0)


def _within(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1])
