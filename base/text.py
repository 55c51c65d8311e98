"""Text that comes from outside, made fit for a person's terminal; sizes as people write and read them."""

import json
import os
import re
from typing import Any, TextIO

__all__ = ["bytes_in", "is_terminal", "lines_of", "printable", "printable_json", "shortened", "size_shown"]

# Of C0, C1 and DEL all but tab and line feed; what turns the direction of writing; halves of a character.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(?:([kmgt])(i?))?b?", re.IGNORECASE)
_UNITS = ("", "k", "m", "g", "t")


def printable(text: str) -> str:
    """`text` with � for each control character: a caption must not move the cursor or turn text around.

    Line feeds and tabs stay.
    """
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))


def shortened(text: str, longest: int) -> str:
    """`text` of at most so many characters; an ellipsis is the last of what was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def printable_json(value: Any) -> str:
    """`value` as indented JSON in which control characters are escapes: it reads back as it was."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def lines_of(text: str) -> list[str]:
    """The lines of `text`, which end at `\\n` or `\\r\\n` only.

    `str.splitlines` ends them at a form feed, U+2028 and half a dozen others too, which prompts, links and
    captions hold.
    """
    return text.removesuffix("\n").removesuffix("\r").replace("\r\n", "\n").split("\n")


def is_terminal(stream: TextIO) -> bool:
    """Whether what is written to `stream` can be drawn over, and laid out for its width."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def bytes_in(text: str) -> int:
    """How many bytes a text such as 10GB means (a kB is 1000, a KiB 1024). Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("must be a size such as 500MB, 10GB or 1TB")
    base = 1024 if found[3] else 1000
    return round(float(found[1]) * base ** _UNITS.index((found[2] or "").lower()))


def size_shown(count: float) -> str:
    """Bytes as people read them: 1.3 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
