"""Contact sheets: thumbnails inside the page, and sheets of all pictures as WebP files beside it."""

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from visunex.base.files import atomic
from visunex.base.machine import cores
from visunex.images.thumbnails import sheet

from .facts import RunImage

__all__ = ["MOST_ON_SHEETS", "data_address", "smaller", "write_sheets"]

MOST_ON_SHEETS = 4000  # pictures, the best ones
_COLUMNS, _ON_ONE = 20, 200  # thumbnails in a row, and on a sheet
_AT_ONCE = 4  # sheets, of 17 MB each
_QUALITY = 75  # of WebP
_WIDEST = 1200  # pixels of an image inside the page


def data_address(webp: bytes) -> str:
    """A WebP file as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def write_sheets(folder: Path, images: Sequence[RunImage], thumbnails: Mapping[str, bytes]) -> list[Path]:
    """Sheets of the pictures, in order, as `folder`/001.webp and on; those of before are gone."""
    small = [thumbnails.get(each.where) for each in images[:MOST_ON_SHEETS]]
    written = list[Path]()
    if any(small):
        folder.mkdir(parents=True, exist_ok=True)
        parts = [small[begin : begin + _ON_ONE] for begin in range(0, len(small), _ON_ONE)]
        written = [folder / f"{number:03d}.webp" for number in range(1, len(parts) + 1)]
        with ThreadPoolExecutor(min(cores(), _AT_ONCE)) as pool:
            list(pool.map(_write_sheet, written, parts))
    for old in folder.glob("[0-9][0-9][0-9].webp") if folder.is_dir() else ():
        if old not in written:
            old.unlink()
    return written


def _write_sheet(path: Path, thumbnails: Sequence[bytes | None]) -> None:
    with atomic(path) as temporary:
        image = sheet(thumbnails, min(_COLUMNS, len(thumbnails)))
        image.save(temporary, "WEBP", quality=_QUALITY, method=2)


def smaller(path: Path) -> bytes:
    """A picture of ours made fit to lie inside a page, as WebP. Raises OSError for what is none."""
    with Image.open(path, formats=["PNG"]) as image:
        image.draft(None, (_WIDEST, _WIDEST))
        shown = image.convert("RGB")
    shown.thumbnail((_WIDEST, _WIDEST * 4))
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=82)
    return file.getvalue()
