"""What is wrong with an image's file."""

from PIL import Image, UnidentifiedImageError

from .formats import MAGIC

__all__ = ["ImageError", "judged"]

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands (ISO 23008-12)
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<!--", b"<script")
_CUT_SHORT = ("truncated", "not enough", "unexpected end", "eof")


class ImageError(Exception):
    """Why bytes are not taken as an image, or give no pixels.

    `kind` is what such failures are counted under (`not_an_image`, `truncated`, ...), `message` a sentence.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.kind, self.message)

    @property
    def described(self) -> str:
        """The refusal in one line that begins with its kind."""
        return f"{self.kind}: {self.message}"


def judged(data: bytes, error: Exception) -> ImageError:
    """Why bytes give no image, by what a parser or decoder of theirs raised: one judgement for all."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too_many_pixels", "the header announces a decompression bomb")
    if isinstance(error, UnidentifiedImageError):
        return _what_else(data)
    reason = f"{type(error).__name__}: {error}".lower()
    if isinstance(error, EOFError) or _is_short_riff(data) or any(words in reason for words in _CUT_SHORT):
        return ImageError("truncated", "the file ends before the picture does")
    return ImageError("damaged", f"the picture cannot be decoded ({type(error).__name__}: {error})"[:200])


def _is_short_riff(data: bytes) -> bool:
    """Whether a WebP has fewer bytes than it announces: its decoder gives no reason."""
    return data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little")


def _what_else(data: bytes) -> ImageError:
    """What bytes are that no decoder knows, in words, and what helps."""
    if data.startswith(MAGIC):
        return ImageError("truncated", "the file ends before the picture does, or its header is broken")
    start = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        return ImageError(
            "git_lfs_pointer", "a Git LFS pointer, not the picture: run `git lfs pull` where it was cloned"
        )
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return ImageError("heic", "a HEIC picture, which needs `pip install 'visunex[heic]'`")
    if b"<svg" in start:
        return ImageError("not_an_image", "an SVG drawing, not a raster picture")
    if start.startswith(_PAGES):
        return ImageError("not_an_image", "an HTML page")
    return ImageError("not_an_image", "no format of pictures that is known")
