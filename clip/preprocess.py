"""A picture's file -> the square of pixels that a CLIP image tower sees. Knows Pillow, not torch.

OpenAI CLIP's own preprocessing (github openai/CLIP, `clip/clip.py`, `_transform`): shorter side to the
tower's size with Pillow's antialiased bicubic, centre crop. What CLIP leaves open is decided here, so that a
picture is encoded as a person sees it: alpha over white, EXIF orientation applied, 16 bits scaled, first
frame of an animation.
"""

import io
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from visunex.images.errors import ImageError
from visunex.images.validate import FORMATS

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

MAX_PIXELS = 2**27  # 10000 x 10000 and a third more; about 1 GB while a picture with alpha is decoded
_MAX_RESIZED = 2**24  # pixels of a resized picture before its crop
_LONGEST = 4  # times the shorter side: longer pictures are not resized whole on the device
# Raise it when the same file gives other pixels: vectors made before are then not mixed with new ones.
VERSION = 1

_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The same turns in steps: first width for height, then the others.
_SIDEWAYS, _LEFT_FOR_RIGHT, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


@dataclass(frozen=True)
class Preprocessing:
    """How a tower wants its pictures. `mean` and `std` are of RGB in 0..1, applied on the tower's side.

    Unless `exact`, a JPEG four times as large as is needed is decoded at 1/2, 1/4 or 1/8 of its size (by
    libjpeg, of fewer DCT coefficients), so that at least twice the tower's size is left to the resize, and of
    a resized picture only the part is made that the crop keeps. `exact` gives OpenAI's pixels to the bit.
    `on_device` leaves the resize to the tower's side.
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
        """The most that `seen` gives of a picture: for the device, 3:2 of four times the size."""
        return (24 if self.on_device else 1) * 3 * self.size**2

    def seen(self, data: bytes) -> "Seen":
        """The picture in a file's bytes: `on_device` as it was decoded, else as a square.

        A picture that is larger than `most_bytes` or much longer than wide becomes a square in any case.
        Raises ImageError.
        """
        view = self._view(data)
        whole = self._whole(view) if self.on_device else None
        return whole or Seen(self._square(view), (self.size, self.size))

    def pixels(self, data: bytes) -> Pixels:
        """The picture in a file's bytes as uint8 [size, size, 3]. Raises ImageError."""
        return self._square(self._view(data))

    def square(self, picture: Image.Image) -> Pixels:
        """An RGB picture, resized and cropped to uint8 [size, size, 3]."""
        return self._square(_View(picture, (0, 0, *picture.size)))

    def _view(self, data: bytes) -> "_View":
        return _opened(data, None if self.exact else 2 * self.size)

    def _whole(self, view: "_View") -> "Seen | None":
        """The picture as it was decoded, for a resize elsewhere; None where it would take too much room."""
        resized = (self.size, self.size) if self.resize == "squash" else _resized(view.size, self.size)
        left, top, right, bottom = (round(edge) for edge in view.box)
        if 3 * (right - left) * (bottom - top) > self.most_bytes or max(resized) > _LONGEST * self.size:
            return None
        return Seen(np.asarray(view.picture)[top:bottom, left:right], resized)

    def _square(self, view: "_View") -> Pixels:
        filter_ = Image.Resampling[self.interpolation.upper()]
        if self.resize == "squash":
            return np.asarray(view.picture.resize((self.size, self.size), filter_, box=view.box))
        return np.asarray(_shortest(view, self.size, filter_, exact=self.exact))


@dataclass(frozen=True)
class Seen:
    """A picture, uint8 [h, w, 3], and the width and height that it is to have before it is cropped."""

    pixels: Pixels
    resized: tuple[int, int]


@dataclass(frozen=True)
class _View:
    """A decoded picture in RGB, and the box of the original in it: reduced, it ends inside a pixel."""

    picture: Image.Image
    box: Box

    @property
    def size(self) -> tuple[float, float]:
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


def _shortest(view: _View, target: int, filter_: Image.Resampling, *, exact: bool) -> Image.Image:
    """Shorter side to `target`, centre crop, with the roundings of torchvision's Resize and CenterCrop."""
    wide, high = _resized(view.size, target)
    left, top = centre(wide, target), centre(high, target)
    if exact and wide * high <= _MAX_RESIZED:
        return view.picture.resize((wide, high), filter_).crop((left, top, left + target, top + target))
    # Resizing only the part that is kept is the same up to the order in which Pillow takes rows and columns.
    # It must be where a picture of 10000 x 10 would grow to 224000 x 224.
    (x, y, _, _), across, down = view.box, view.size[0] / wide, view.size[1] / high
    kept = (x + left * across, y + top * down, x + (left + target) * across, y + (top + target) * down)
    return view.picture.resize((target, target), filter_, box=_within(kept, view.picture.size))


def _resized(size: tuple[float, float], target: int) -> tuple[int, int]:
    short = min(size)
    return int(target * size[0] / short), int(target * size[1] / short)


def centre(side: int, target: int) -> int:
    """Where the middle `target` pixels of `side` begin."""
    return round((side - target) / 2.0)


def _within(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1])


def open_rgb(data: bytes) -> Image.Image:
    """The picture in a file's bytes, as a person sees it, in RGB.

    Raises ImageError: empty, not_an_image, too_many_pixels, truncated, damaged or out_of_memory.
    """
    return _opened(data, None).picture


def _opened(data: bytes, enough: int | None) -> _View:
    """As `open_rgb`; a JPEG that stays `enough` pixels wide and high is decoded at reduced scale."""
    if not data:
        raise ImageError("empty", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF and large pictures; what matters is raised
        try:
            return _open(data, enough)
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError("not_an_image", "no picture format that is read here") from None
        except Image.DecompressionBombError as error:
            raise ImageError("too_many_pixels", str(error)) from None
        except MemoryError:
            raise ImageError("out_of_memory", "the picture does not fit into memory") from None
        except Exception as error:  # decoders of hostile bytes raise anything
            raise _damaged(error) from None


def _open(data: bytes, enough: int | None) -> _View:
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError("too_many_pixels", f"{width}x{height} is more than {MAX_PIXELS} pixels")
        if width < 1 or height < 1:
            raise ImageError("damaged", f"the header says {width}x{height} pixels")
        if enough is not None:
            image.draft(None, (enough, enough))  # reduces by as much as both sides allow; JPEGs only
        reduced = image.size != (width, height)
        # The last pixel may stand for fewer of the original's than the others do.
        scale = 1 << math.ceil(math.log2(width / image.width))
        image.load()
        picture = _rgb(image)
        right, bottom = (width / scale, height / scale) if reduced else picture.size
        return _upright(_View(picture, (0, 0, right, bottom)), _orientation(image))


@lru_cache(maxsize=1)
def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _damaged(error: Exception) -> ImageError:
    cut = any(word in str(error).lower() for word in ("truncated", "not enough", "unexpected end", "eof"))
    return ImageError("truncated" if cut else "damaged", f"{type(error).__name__}: {error}"[:200])


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF does not make the picture worse
        return 1


def _upright(view: _View, orientation: int) -> _View:
    turn = _ORIENTATIONS.get(orientation)
    if turn is None:
        return view
    picture, (left, top, right, bottom) = view.picture.transpose(turn), view.box
    if orientation in _SIDEWAYS:
        left, top, right, bottom = top, left, bottom, right
    if orientation in _LEFT_FOR_RIGHT:
        left, right = picture.width - right, picture.width - left
    if orientation in _UPSIDE_DOWN:
        top, bottom = picture.height - bottom, picture.height - top
    return _View(picture, (left, top, right, bottom))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _eight_bits(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits: 16-bit ones by their range, others by what they hold, as none is defined."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scaled = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
