"""Images on disk: numbered PNG files that say how they were made, and grids of them."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image, PngImagePlugin

from visunex.base.files import TEMPORARY_SUFFIX

from ..errors import OutputError
from .png_text import ImageRecord, png_text, web_ui_text

__all__ = ["SAMPLES", "Writer", "check_folder"]

SAMPLES = "samples"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


class Writer:
    """Writes images into `folder`, numbering on from what is there; two processes never take one number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def sample(self, image: Image.Image, record: ImageRecord) -> Path:
        """Write one image to `samples/00000.png` and on. Raises OutputError when it cannot be written."""
        text = png_text(web_ui_text(record), record)
        return self._write(image, self.folder / SAMPLES, "", 5, text)

    def grid(self, image: Image.Image, web_ui: str) -> Path:
        """Write one grid to `grid-0000.png` and on, with the text `web_ui` that the web UI shows.

        Raises OutputError when it cannot be written.
        """
        return self._write(image, self.folder, "grid-", 4, png_text(web_ui))

    def _write(
        self, image: Image.Image, folder: Path, prefix: str, digits: int, text: PngImagePlugin.PngInfo
    ) -> Path:
        with _named_errors(folder, self.written):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".{os.getpid()}{TEMPORARY_SUFFIX}"
            try:
                with temporary.open("wb") as file:
                    image.save(file, format="PNG", pnginfo=text)
                    file.flush()
                    os.fsync(file.fileno())
                path = _numbered(temporary, folder, prefix, digits)
            finally:
                with suppress(OSError):
                    temporary.unlink()
        self.written.append(path)
        return path


def check_folder(folder: Path) -> None:
    """Raise OutputError where nothing could be written into `folder` now; what is made to see is removed."""
    made = []
    with _named_errors(folder, []):
        try:
            for each in (*reversed(folder.parents), folder):
                if not each.is_dir():
                    each.mkdir(exist_ok=True)
                    made.append(each)
            _probe(folder)
        finally:
            for each in reversed(made):
                with suppress(OSError):  # another process has put something there
                    each.rmdir()


def _probe(folder: Path) -> None:
    """Write a small file and remove it."""
    probe = folder / f".{os.getpid()}{TEMPORARY_SUFFIX}"
    try:
        probe.write_bytes(b"VisuNex")
    finally:
        with suppress(OSError):
            probe.unlink()


@contextmanager
def _named_errors(folder: Path, written: list[Path]) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        full = getattr(error, "errno", None) in _FULL
        in_the_way = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = getattr(error, "strerror", None) or str(error)
        reason = "the disk is full" if full else "a file is in its place" if in_the_way else reason
        way = f"{'make room, or ' if full else ''}give another folder with --outdir"
        said = f"no picture could be written to {folder}: {reason}{_kept(written)}; {way}"
        raise OutputError(said) from None


def _kept(written: list[Path]) -> str:
    if not written:
        return ""
    return f"; the {len(written)} written before are kept, the last is {written[-1]}"


def _numbered(temporary: Path, folder: Path, prefix: str, digits: int) -> Path:
    """Give a file that is whole the next number, which no other process takes at the same time."""
    number = _next_number(folder, prefix)
    while True:
        path = folder / f"{prefix}{number:0{digits}}.png"
        try:
            _rename_to_new(temporary, path)
            return path
        except FileExistsError:
            number += 1


def _next_number(folder: Path, prefix: str) -> int:
    pattern = re.compile(rf"{prefix}(\d{{1,18}})\.png")
    taken = [int(match[1]) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    return max(taken, default=-1) + 1


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Call a file `path`. Raises FileExistsError where there is one already."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        path.touch(exist_ok=False)  # a file system without links: the name is taken by an empty file
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
