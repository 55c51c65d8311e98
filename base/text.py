"""Text that comes from outside, made fit for a person's terminal."""

import json
import os
import re
from typing import Any, TextIO

__all__ = ["is_terminal", "lines_of", "printable", "printable_json"]

# Of C0, C1 and DEL all but tab and line feed; what turns the direction of writing; halves of a character.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """`text` with � for each control character: a caption must not move the cursor or turn text around.

    Line feeds and tabs stay.
    """
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))


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
