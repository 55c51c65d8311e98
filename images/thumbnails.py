"""An image's file -> a small WebP of what a person sees in it; and many of them on one sheet."""

import io
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path

from PIL import Image, ImageCms

from visunex.base.errors import UsageError
from visunex.base.files import atomic

from .decode import decode

__all__ = ["SIDE", "require_sheet_format", "save_sheet", "sheet", "sheet_size", "thumbnail"]

SIDE = 160  # pixels of the longer side
_QUALITY, _EFFORT = 72, 2  # of WebP; an effort of 3 takes twice the time for a twenty-fifth of the bytes
_SRGB = ImageCms.createProfile("sRGB")
_LONGEST = {"PNG": 65_500, "WEBP": 16_383, "JPEG": 65_500}  # pixels of a side
_FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
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


def require_sheet_format(target: Path) -> str:
    """Pillow's name for the format that a sheet's file name asks for. Raises UsageError for another."""
    kind = _FORMATS.get(target.suffix.lower())
    if kind is None:
        raise UsageError(f"--sheet {target}: name a .png, .webp or .jpg")
    return kind


def save_sheet(thumbnails: Sequence[bytes | None], target: Path, columns: int | None = None) -> None:
    """Write a sheet of thumbnails to a file, in rows of `columns` or as a square.

    Raises UsageError for a name that is of no picture format, and for more pixels than the format holds.
    """
    kind = require_sheet_format(target)
    across = min(columns or ceil(sqrt(len(thumbnails))), len(thumbnails))
    width, height = sheet_size(len(thumbnails), across)
    if max(width, height) > _LONGEST[kind]:
        raise UsageError(
            f"--sheet {target}: {width}x{height} pixels are more than a {target.suffix} holds; give other "
            "--columns, or fewer with --top"
        )
    image = sheet(thumbnails, across)
    with atomic(target) as temporary:
        image.save(temporary, kind)


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
