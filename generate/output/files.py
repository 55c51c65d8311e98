"""Images on disk: numbered PNG files that say how they were made, and grids of them."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, PngImagePlugin

from visunex.base.files import atomic

from ..errors import OutputError
from .png_text import ImageRecord, png_text, web_ui_text

__all__ = ["Writer"]


class Writer:
    """Writes images into `folder`, numbering on from what is there; two processes never take one number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def sample(self, image: Image.Image, record: ImageRecord) -> Path:
        """Write one image to `samples/00000.png` and on. Raises OutputError when it cannot be written."""
        text = png_text(web_ui_text(record), record)
        return self._write(image, self.folder / "samples", "", 5, text)

    def grid(self, image: Image.Image, web_ui: str) -> Path:
        """Write one grid to `grid-0000.png` and on, with the text `web_ui` that the web UI shows.

        Raises OutputError when it cannot be written.
        """
        return self._write(image, self.folder, "grid-", 4, png_text(web_ui))

    def _write(
        self, image: Image.Image, folder: Path, prefix: str, digits: int, text: PngImagePlugin.PngInfo
    ) -> Path:
        with self._named_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            path = _claim(folder, prefix, digits)
            try:
                with atomic(path) as temporary:
                    image.save(temporary, format="PNG", pnginfo=text)
            except BaseException:
                path.unlink(missing_ok=True)  # the claim: an empty file
                raise
        self.written.append(path)
        return path

    @contextmanager
    def _named_errors(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            kept = f"; the {len(self.written)} written before are kept" if self.written else ""
            raise OutputError(f"no picture could be written to {folder}: {reason}{kept}") from None


def _claim(folder: Path, prefix: str, digits: int) -> Path:
    """The file of the next number, created empty so that no other process takes it."""
    pattern = re.compile(rf"{prefix}(\d+)\.png")
    taken = [int(match[1]) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    number = max(taken, default=-1) + 1
    while True:
        path = folder / f"{prefix}{number:0{digits}}.png"
        try:
            path.touch(exist_ok=False)
            return path
        except FileExistsError:
            number += 1
