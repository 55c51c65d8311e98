"""The one decoder: an image's file -> RGB pixels, as a person sees it. Knows Pillow, not torch.

Alpha is laid over white, EXIF orientation applied, more than 8 bits are scaled (and turned round where zero
is white), of an animation it is the first frame.
"""

import contextlib
import io
import math
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import ImageError, judged
from .formats import FORMATS

__all__ = ["MAX_PIXELS", "Box", "View", "decode", "decoded_size", "open_rgb", "opened"]

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

MAX_PIXELS = 2**27  # 10000 x 10000 and a third more; about 1 GB while an image with alpha is decoded

_ORIENTATION_TAG = 0x0112
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF 6.0's tags
_WHITE_IS_ZERO = 0
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What the profile of a picture in these modes is of: converted to RGB, they keep their colours.
_PROFILE_SPACES = {
    **dict.fromkeys(("RGB", "RGBA", "RGBX", "P", "PA"), b"RGB "),
    **dict.fromkeys(("1", "L", "LA", "I;16", "I;16B", "I;16L"), b"GRAY"),
}
# The same turns in steps: first width for height, then the others.
_SIDEWAYS, _LEFT_FOR_RIGHT, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


@dataclass(frozen=True)
class View:
    """A decoded image in RGB, and the box of the original in it: reduced, it ends inside a pixel.

    `profile` is the file's ICC profile where it still says what these pixels' colours, or greys, are.
    """

    image: Image.Image
    box: Box
    profile: bytes | None = None

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
    """Those formats that this Pillow was built with, or a plug-in for it reads."""
    Image.init()
    with contextlib.suppress(ImportError):  # the extra `heic`
        import pillow_heif

        pillow_heif.register_heif_opener()
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
        except MemoryError:
            raise ImageError("out_of_memory", "the picture does not fit into memory") from None
        except Exception as error:  # decoders of hostile bytes raise anything
            raise judged(data, error) from None


def decoded_size(data: bytes, enough: int | None) -> tuple[int, int] | None:
    """The width and height at which `decode` decodes a file, by its header; None where that cannot be read.

    Where they are the same for two values of `enough`, so is the view.
    """
    try:
        with warnings.catch_warnings(), opened(data) as image:
            warnings.simplefilter("ignore")
            if enough is not None:
                image.draft(None, (enough, enough))
            return image.size
    except Exception:  # hostile bytes raise anything; `decode` says what is the matter
        return None


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
        return _upright(View(rgb, (0, 0, right, bottom), _profile(image)), _orientation(image))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError("too_many_pixels", f"{width}x{height} is more than {MAX_PIXELS} pixels")
    if width < 1 or height < 1:
        raise ImageError("damaged", f"the header says {width}x{height} pixels")


def _profile(image: Image.Image) -> bytes | None:
    """The file's colour profile, unless it is none, or one of inks that became RGB (ICC.1, 7.2)."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or profile[36:40] != b"acsp":
        return None
    return profile if profile[16:20] == _PROFILE_SPACES.get(image.mode) else None


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
    return replace(view, image=image, box=(left, top, right, bottom))


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
    """Greys of more than 8 bits, by their format's range; by what they hold where none is defined."""
    values = np.nan_to_num(_values(image), posinf=0, neginf=0)
    full = _full_range(image)
    low, high = (0.0, full) if full else (float(values.min()), float(values.max()))
    scaled = ((values - low) * (255 / max(high - low, 1e-12))).clip(0, 255)
    grey = np.rint(scaled).astype(np.uint8)
    return Image.fromarray(255 - grey if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO else grey)


def _values(image: Image.Image) -> NDArray[np.float32]:
    """The numbers of a deep grey; Pillow shows a TIFF's unsigned 32 bits as signed ones."""
    values = np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and _tag(image, _SAMPLE_FORMAT) in (None, 1, (1,)):
        values = values.view(np.uint32)
    return values.astype(np.float32)


def _full_range(image: Image.Image) -> float | None:
    """What is white, or black, in a format of so many bits; None for 32-bit numbers."""
    if image.mode.startswith("I;16"):
        bits = _tag(image, _BITS)
        return 4095.0 if bits in (12, (12,)) else 65535.0
    return 65535.0 if image.mode == "I" and image.format != "TIFF" else None


def _tag(image: Image.Image, tag: int) -> Any:
    """A TIFF's tag; None for what is no TIFF or lacks it."""
    return getattr(image, "tag_v2", {}).get(tag) if image.format == "TIFF" else None
