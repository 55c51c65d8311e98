"""An image's file -> a small WebP of what a person sees in it; and many of them on one sheet."""

import io
from collections.abc import Sequence

from PIL import Image, ImageCms

from .decode import decode

__all__ = ["SIDE", "sheet", "sheet_size", "thumbnail"]

SIDE = 160  # pixels of the longer side
_QUALITY, _EFFORT = 72, 3  # of WebP; more effort takes thrice the time for a tenth of the bytes
_SRGB = ImageCms.createProfile("sRGB")
_GAP, _PAPER = 6, (24, 24, 27)  # pixels between the thumbnails of a sheet, and what lies behind them


def thumbnail(data: bytes, side: int = SIDE) -> bytes:
    """The image in a file's bytes, its longer side at most `side` pixels, in sRGB, as WebP.

    Raises ImageError as `decode` does.
    """
    view = decode(data, enough=side)
    scale = min(1.0, side / max(view.size))
    width, height = (max(1, round(length * scale)) for length in view.size)
    image = view.image.resize((width, height), Image.Resampling.LANCZOS, box=view.box)
    file = io.BytesIO()
    _as_srgb(image, view.profile).save(file, "WEBP", quality=_QUALITY, method=_EFFORT)
    return file.getvalue()


def sheet_size(count: int, columns: int, side: int = SIDE) -> tuple[int, int]:
    """The width and height in pixels of a sheet of so many thumbnails."""
    rows, step = -(-count // columns), side + _GAP
    return columns * step + _GAP, rows * step + _GAP


def sheet(thumbnails: Sequence[bytes | None], columns: int, side: int = SIDE) -> Image.Image:
    """Thumbnails in rows of so many, from left to right; a place stays empty where there is no such one."""
    step = side + _GAP
    paper = Image.new("RGB", sheet_size(len(thumbnails), columns, side), _PAPER)
    for number, data in enumerate(thumbnails):
        if (image := _opened(data, side)) is not None:
            left = _GAP + number % columns * step + (side - image.width) // 2
            top = _GAP + number // columns * step + (side - image.height) // 2
            paper.paste(image, (left, top))
    return paper


def _opened(data: bytes | None, side: int) -> Image.Image | None:
    """A thumbnail's pixels; None for what is none, or larger: files of them may be damaged."""
    if data is None:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            return image.convert("RGB") if max(image.size) <= side else None
    except (OSError, ValueError, TypeError):
        return None


def _as_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An RGB image in sRGB; left as it is where its profile is of greys, or damaged."""
    if profile is None or profile[16:20] == b"GRAY":
        return image
    try:
        converted = ImageCms.profileToProfile(image, io.BytesIO(profile), _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted
