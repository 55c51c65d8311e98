"""Text that comes from outside, made fit for a person's terminal."""

import re

__all__ = ["printable"]

# Of C0, C1 and DEL all but tab and line feed; what turns the direction of writing; halves of a character.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with � for each control character: a caption must not move the cursor or turn text around.

    Line feeds and tabs stay.
    """
    return _CONTROLS.sub("\ufffd", text)
