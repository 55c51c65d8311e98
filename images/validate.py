"""Whether a file is an image, whole and of a sane size: by its structure; by decoding where that is odd."""

import errno
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from .decode import opened
from .errors import ImageError, judged
from .formats import SUFFIX

__all__ = ["Header", "Limits", "inspect", "suffix_of"]

_OF_THE_MACHINE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})


@dataclass(frozen=True)
class Limits:
    """What an image must be like. `decode` also decodes every pixel, which finds damage inside a file."""

    min_side: int = 0
    max_pixels: int = 100_000_000
    max_aspect_ratio: float | None = None
    decode: bool = False


@dataclass(frozen=True)
class Header:
    """What a file's header says: Pillow's name of the format, and the size in pixels."""

    format: str
    width: int
    height: int


def inspect(data: bytes, limits: Limits) -> Header:
    """The format and size of a whole image within `limits`.

    Raises ImageError: empty, not_an_image, too_many_pixels, too_small, aspect_ratio, truncated or damaged.
    What the machine lacks is none of the image's faults: MemoryError, or the OSError as it came.
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    try:
        with opened(data) as image:
            header = Header(str(image.format), *image.size)
            _check_size(header, limits)
            _check_whole(data, header.format, image, decode=limits.decode)
    except MemoryError:
        raise
    except Exception as error:  # parsers of hostile bytes raise anything
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise
        raise judged(data, error) from None
    return header


def suffix_of(data: bytes) -> str:
    """The ending of a file of the format that an image's bytes are in. Raises ImageError."""
    if not data:
        raise ImageError("empty", "the file has no bytes")
    try:
        with opened(data) as image:
            return SUFFIX[str(image.format)]
    except Exception as error:  # parsers of hostile bytes raise anything
        raise judged(data, error) from None


def _check_size(header: Header, limits: Limits) -> None:
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise ImageError("damaged", "the picture has no pixels")
    if width * height > limits.max_pixels:
        raise ImageError("too_many_pixels", f"more than {limits.max_pixels} pixels (--max-pixels)")
    if min(width, height) < limits.min_side:
        raise ImageError(
            "too_small", f"its shorter side is below {limits.min_side} pixels (--min-image-size)"
        )
    longest = limits.max_aspect_ratio
    if longest is not None and max(width, height) > longest * min(width, height):
        raise ImageError(
            "aspect_ratio", f"longer than {longest:g} times its shorter side (--max-aspect-ratio)"
        )


def _check_whole(data: bytes, kind: str, image: Image.Image, *, decode: bool) -> None:
    """Decode what the structure does not show to be whole: the decoder's word counts, as in the encoders."""
    check = _WHOLE.get(kind)
    if decode or check is None or not check(data):
        image.load()


def _jpeg_is_whole(data: bytes) -> bool:
    """An end marker after the first scan: inside compressed data none can occur, in a thumbnail it does."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return False
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
        elif marker == 0xDA:
            return data.rfind(b"\xff\xd9", position) != -1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _png_is_whole(data: bytes) -> bool:
    """All chunks up to IEND, each with the right checksum. Raises ImageError where a checksum is wrong.

    Packed text behind the pixels is odd: a decoder may refuse to unpack it.
    """
    position, view, pixels = 8, memoryview(data), False
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            return name == b"IEND"
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError("damaged", "a checksum inside the file is wrong")
        if name == b"IEND":
            return True
        pixels = pixels or name == b"IDAT"
        if pixels and name in (b"zTXt", b"iTXt"):
            return False
        position = end + 4
    return False


def _webp_is_whole(data: bytes) -> bool:
    """As many bytes as the RIFF header announces."""
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _gif_is_whole(data: bytes) -> bool:
    """Block by block up to the trailer (GIF89a, appendix A), whose byte also occurs inside pictures."""
    try:
        at = 13 + _gif_colours(data[10])
        while data[at] != ord(";"):
            if data[at] == ord(","):
                at = _after_sub_blocks(data, at + 11 + _gif_colours(data[at + 9]))
            elif data[at] == ord("!"):
                at = _after_sub_blocks(data, at + 2)
            elif data[at] == 0:  # some encoders put zeros between blocks
                at += 1
            else:
                return False
    except IndexError:
        return False
    return True


def _gif_colours(flags: int) -> int:
    """The bytes of the colour table that flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


_WHOLE: dict[str, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_is_whole,
    "MPO": _jpeg_is_whole,
    "PNG": _png_is_whole,
    "WEBP": _webp_is_whole,
    "GIF": _gif_is_whole,
}
