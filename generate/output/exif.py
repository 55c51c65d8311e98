"""The text in EXIF: a user's comment in one of three encodings, and what programs put into other tags."""

from typing import Any

__all__ = ["exif_texts"]

DESCRIPTION, MAKE, MODEL, EXIF_PART, USER_COMMENT = 0x010E, 0x010F, 0x0110, 0x8769, 0x9286
COMFYUI = ("prompt", "workflow")  # it writes `workflow:{...}` into tags that cameras have for their names


def exif_texts(exif: Any) -> dict[str, str]:
    """The texts of Pillow's `exif` under the keys that PNGs have for them."""
    found = {}
    comment = decoded(exif.get_ifd(EXIF_PART).get(USER_COMMENT) or exif.get(USER_COMMENT) or b"")
    if comment:
        found["parameters"] = comment
    for tag in (DESCRIPTION, MAKE, MODEL):
        text = decoded(exif.get(tag) or b"")
        key, _, value = text.partition(":")
        if key.lower() in COMFYUI:
            found[key.lower()] = value
        elif tag == DESCRIPTION and text:
            found.setdefault("parameters", text)
    return found


def decoded(comment: bytes | str) -> str:
    """A comment of EXIF as text: its first 8 bytes name the encoding, or are absent."""
    if isinstance(comment, str):  # Pillow takes ASCII for Latin-1; programs write UTF-8
        comment = comment.encode("latin-1", "replace")
    if not isinstance(comment, bytes):
        return ""
    prefix, rest = comment[:8], comment[8:]
    if prefix == b"UNICODE\0":
        return _utf16(rest)
    if prefix == b"JIS\0\0\0\0\0":
        return rest.decode("iso2022_jp", "replace").strip("\0 ")
    if prefix not in (b"ASCII\0\0\0", b"\0" * 8):
        rest = comment
    return _bytes(rest).strip("\0 ")


def _utf16(data: bytes) -> str:
    """UTF-16 in the order of bytes that it is in: programs do not keep to the file's."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").strip("\0 ")
    if 0 not in data:  # no Latin in it, or no UTF-16 at all
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    data = data[: len(data) // 2 * 2]
    big = data[::2].count(0) >= data[1::2].count(0)  # letters of Latin have their zero first
    return data.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\0 ")


def _bytes(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
