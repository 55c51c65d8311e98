"""Contact sheets: thumbnails inside the page, and sheets of all pictures as WebP files beside it."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from visunex.base.files import atomic
from visunex.images.thumbnails import sheet

from .facts import RunImage

__all__ = ["MOST_ON_SHEETS", "data_address", "smaller", "write_sheets"]

MOST_ON_SHEETS = 4000  # pictures, the best ones
_COLUMNS, _ROWS = 20, 10
_QUALITY = 75  # of WebP
_WIDEST = 1200  # pixels of an image inside the page


def data_address(webp: bytes) -> str:
    """A WebP file as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def write_sheets(folder: Path, images: Sequence[RunImage], thumbnails: Mapping[str, bytes]) -> list[Path]:
    """Sheets of the pictures, in order, as `folder`/001.webp and on; those of before are gone."""
    small = [thumbnails.get(each.where) for each in images[:MOST_ON_SHEETS]]
    written = []
    if any(small):
        folder.mkdir(parents=True, exist_ok=True)
        for number, begin in enumerate(range(0, len(small), _COLUMNS * _ROWS), 1):
            part, path = small[begin : begin + _COLUMNS * _ROWS], folder / f"{number:03d}.webp"
            with atomic(path) as temporary:
                sheet(part, min(_COLUMNS, len(part))).save(temporary, "WEBP", quality=_QUALITY, method=2)
            written.append(path)
    for old in folder.glob("[0-9][0-9][0-9].webp") if folder.is_dir() else ():
        if old not in written:
            old.unlink()
    return written


def smaller(path: Path) -> bytes:
    """A picture of ours made fit to lie inside a page, as WebP. Raises OSError for what is none."""
    with Image.open(path, formats=["PNG"]) as image:
        image.draft(None, (_WIDEST, _WIDEST))
        shown = image.convert("RGB")
    shown.thumbnail((_WIDEST, _WIDEST * 4))
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=82)
    return file.getvalue()
