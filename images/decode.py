"""The one decoder: an image's file -> RGB pixels, as a person sees it. Knows Pillow, not torch.

Alpha is laid over white, EXIF orientation applied, 16 bits are scaled, of an animation it is the first frame.
"""

import io
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import ImageError, is_cut_short
from .formats import FORMATS

__all__ = ["MAX_PIXELS", "Box", "View", "decode", "open_rgb", "opened"]

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

MAX_PIXELS = 2**27  # 10000 x 10000 and a third more; about 1 GB while an image with alpha is decoded

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
class View:
    """A decoded image in RGB, and the box of the original in it: reduced, it ends inside a pixel."""

    image: Image.Image
    box: Box

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the box, in pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


def opened(data: bytes) -> Image.Image:
    """Pillow's image of a file's bytes, of which only the header was read; a context that closes it.

    Raises whatever Pillow raises; UnidentifiedImageError where it is of none of our formats.
    """
    return Image.open(io.BytesIO(data), formats=_formats())


@lru_cache(maxsize=1)
def _formats() -> list[str]:
    """Those formats that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def open_rgb(data: bytes) -> Image.Image:
    """The image in a file's bytes, as a person sees it, in RGB. Raises ImageError as `decode` does."""
    return decode(data).image


def decode(data: bytes, enough: int | None = None) -> View:
    """The image in a file's bytes; a JPEG that stays `enough` pixels wide and high is decoded smaller.

    At 1/2, 1/4 or 1/8 of its size, by libjpeg, of fewer DCT coefficients.
    Raises ImageError: empty, not_an_image, too_many_pixels, truncated, damaged or out_of_memory.
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF and large images; what matters is raised
        try:
            return _decode(data, enough)
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError("not_an_image", "no picture format that is read here") from None
        except Image.DecompressionBombError as error:
            raise ImageError("too_many_pixels", str(error)) from None
        except MemoryError:
            raise ImageError("out_of_memory", "the picture does not fit into memory") from None
        except Exception as error:  # decoders of hostile bytes raise anything
            kind = "truncated" if is_cut_short(error) else "damaged"
            raise ImageError(kind, f"{type(error).__name__}: {error}"[:200]) from None


def _decode(data: bytes, enough: int | None) -> View:
    with opened(data) as image:
        width, height = image.size
        _check_size(width, height)
        if enough is not None:
            image.draft(None, (enough, enough))  # reduces by as much as both sides allow; JPEGs only
        reduced = image.size != (width, height)
        # The last pixel may stand for fewer of the original's than the others do.
        scale = 1 << math.ceil(math.log2(width / image.width))
        image.load()
        rgb = _rgb(image)
        right, bottom = (width / scale, height / scale) if reduced else rgb.size
        return _upright(View(rgb, (0, 0, right, bottom)), _orientation(image))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError("too_many_pixels", f"{width}x{height} is more than {MAX_PIXELS} pixels")
    if width < 1 or height < 1:
        raise ImageError("damaged", f"the header says {width}x{height} pixels")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF does not make the image worse
        return 1


def _upright(view: View, orientation: int) -> View:
    turn = _ORIENTATIONS.get(orientation)
    if turn is None:
        return view
    image, (left, top, right, bottom) = view.image.transpose(turn), view.box
    if orientation in _SIDEWAYS:
        left, top, right, bottom = top, left, bottom, right
    if orientation in _LEFT_FOR_RIGHT:
        left, right = image.width - right, image.width - left
    if orientation in _UPSIDE_DOWN:
        top, bottom = image.height - bottom, image.height - top
    return View(image, (left, top, right, bottom))


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
