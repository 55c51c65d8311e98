"""Prompts of other programs -> the web UI's syntax, which is read here: weights stay, the rest is said."""

import re

from ..errors import UsageError
from ..syntax import as_letters, resolved, weighted

__all__ = ["Found", "of_comfyui", "of_novelai", "of_web_ui"]

STRONGER = 1.05  # of a pair of NovelAI's braces; its square brackets divide by it

_CAPITALS = re.compile(r"\b(?:BREAK|AND)\b")  # words to all but the web UI
_AND_SQUARE = re.compile(rf"[\[\]]|{_CAPITALS.pattern}")
_PARTS = re.compile(r"-?\d{1,3}(?:\.\d{1,9})?::|::|[{}\[\]()\\]|[^{}\[\]()\\:\d-]+|.", re.DOTALL)
_CLOSES = {"}": "{", "]": "[", "::": "::"}
_FACTORS = {"{": f"{STRONGER}", "[": f"{1 / STRONGER:.6f}"}

# A prompt in the web UI's syntax, and what of it is not done here or not in the same way.
Found = tuple[str, list[str]]


def of_web_ui(text: str) -> Found:
    """A web UI's own prompt; of what changes on the way the first words."""
    found = resolved(text)
    return found.text, [f"the prompt is read without {', '.join(found.left_out)}"] if found.left_out else []


def of_comfyui(text: str) -> Found:
    """A prompt of ComfyUI, which has round brackets alone."""
    return _with_remark(as_letters(text, _AND_SQUARE), "ComfyUI")


def of_novelai(text: str) -> Found:
    """A prompt of NovelAI: `{word}`, `[word]` and `1.2::word::` are emphasis, round brackets letters."""
    frames: list[tuple[str, list[str]]] = [("", [])]
    for part in _PARTS.findall(as_letters(text, _CAPITALS)):
        opened, inner = frames[-1]
        if part in _CLOSES and (opened == _CLOSES[part] or (part == "::" and opened.endswith("::"))):
            frames.pop()
            factor = _FACTORS.get(opened) or opened.removesuffix("::")
            frames[-1][1].append(f"({''.join(inner)}:{factor})")
        elif part in _FACTORS or (part.endswith("::") and part != "::"):
            frames.append((part, []))
        else:
            inner.append(as_letters(part))
    words = "".join(
        "".join((as_letters(opened), *inner)) for opened, inner in frames
    )  # never closed: letters
    return _with_remark(words, "NovelAI")


def _with_remark(text: str, program: str) -> Found:
    """The text, and that its emphasis is another program's where it has any."""
    try:
        plain = all(piece.weight == 1 for section in weighted(text) for piece in section)
    except UsageError:  # which is said when it is drawn
        plain = False
    return text, [] if plain else [f"emphasis is laid on as the web UI does, not as {program}"]
