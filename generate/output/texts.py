"""The texts in an image file, read without its pixels and within bounds."""

import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from visunex.base.errors import first_line

from ..errors import ImageTextError
from .exif import exif_texts

__all__ = ["texts_in"]

PNG = b"\x89PNG\r\n\x1a\n"
MOST_BYTES = 4 << 20  # of one text, unpacked; graphs of ComfyUI are the largest there are
MOST_TEXTS = 64
MOST_FILE = 1 << 29  # bytes of a JPEG or WebP, which Pillow reads whole
MOST_CHUNKS = 100_000


def texts_in(path: Path) -> dict[str, str]:
    """The texts of a PNG by their keys, or those in the EXIF of a JPEG, WebP or AVIF.

    Raises ImageTextError for what is no image, and for texts beyond the bounds.
    """
    try:
        if not stat.S_ISREG((state := path.stat()).st_mode):
            raise ImageTextError(f"{path} is no file: give a picture")
        with path.open("rb") as file:
            if file.read(len(PNG)) == PNG:
                return _of_png(path, file)
        if state.st_size > MOST_FILE:
            raise ImageTextError(f"{path} has {state.st_size >> 20} MiB, more than a picture")
        return _of_others(path)
    except ImageTextError:
        raise
    except FileNotFoundError:
        raise ImageTextError(f"no picture {path}") from None
    except Exception as error:  # Pillow has many
        raise ImageTextError(f"{path} cannot be read as a picture: {first_line(error)}") from None


def _of_png(path: Path, file: IO[bytes]) -> dict[str, str]:
    found, kind = dict[str, str](), b""
    for kind, length in _chunks(file):
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            if length > MOST_BYTES or len(found) >= MOST_TEXTS:
                raise _too_much(path)
            data = file.read(length)
            found |= _exif_of(data) if kind == b"eXIf" else _text_of(path, kind, data)
    if kind != b"IEND" and not found:
        raise ImageTextError(
            f"{path} cannot be read as a picture: it ends too early, as of a broken download"
        )
    return found


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk of a PNG, with the file at its data; texts may come after the pixels."""
    place = len(PNG)
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, length
        if kind == b"IEND":
            return
        place += 12 + length


def _text_of(path: Path, kind: bytes, data: bytes) -> dict[str, str]:
    """The text of one chunk by its key; nothing for a chunk that is damaged."""
    key, _, rest = data.partition(b"\0")
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        return {key.decode("latin-1"): _decoded(_unpacked(path, rest) if packed else rest)}
    except zlib.error:
        return {}


def _unpacked(path: Path, data: bytes) -> bytes:
    """What zlib packed. Raises zlib.error."""
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(data, MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise _too_much(path)
    return unpacked


def _decoded(data: bytes) -> str:
    """UTF-8, which programs write where the format has Latin-1 too; Latin-1 else."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _exif_of(data: bytes) -> dict[str, str]:
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(data)
        return exif_texts(exif)
    except Exception:  # Pillow has many; what is damaged says nothing
        return {}


def _of_others(path: Path) -> dict[str, str]:
    from PIL import Image

    with Image.open(path) as image:
        found = exif_texts(image.getexif())
        comment: Any = image.info.get("comment")
        if isinstance(comment, bytes) and comment:
            found.setdefault("parameters", _decoded(comment))
        if any(len(text) > MOST_BYTES for text in found.values()):
            raise _too_much(path)
        return found


def _too_much(path: Path) -> ImageTextError:
    return ImageTextError(
        f"{path} holds more text than a picture needs to say how it was made ({MOST_BYTES >> 20} MiB in one "
        f"piece, {MOST_TEXTS} pieces): none of it was read"
    )
