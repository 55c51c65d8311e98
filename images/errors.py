"""What is wrong with an image's file."""

__all__ = ["ImageError", "is_cut_short", "what_else"]

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


def is_cut_short(error: Exception) -> bool:
    """Whether what a decoder raised says that the file ends before the image does."""
    reason = str(error).lower()
    return isinstance(error, EOFError) or any(words in reason for words in _CUT_SHORT)


def what_else(data: bytes) -> ImageError:
    """What bytes are that no decoder knows, in words, and what helps."""
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
