"""What the web UI's prompts hold besides weighted words, and is not done here: networks, changes."""

import re
from dataclasses import dataclass, field

from ..errors import UsageError
from .weights import Section, weighted

__all__ = ["Resolved", "resolved", "sections_of"]

_NETWORK = re.compile(r"<(lora|lyco|hypernet):([^<>:]{1,200})[^<>]{0,200}>", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*")
_AND = re.compile(r"\bAND\b")
_PARTS = re.compile(r"\\.|[()\[\]|:]|[^\\()\[\]|:]+|\\", re.DOTALL)
_CLOSES = {")": "(", "]": "["}


@dataclass(frozen=True)
class Resolved:
    """A prompt of weighted words alone, and what was left out of it, for a person."""

    text: str
    left_out: tuple[str, ...]


def resolved(prompt: str) -> Resolved:
    """A web UI's prompt without what is not done here; weights, escapes and `BREAK` stay.

    Of `[from:to:when]` and `[a|b]` the first words are kept, `<lora:name:1>` is left out, of `AND` a comma is
    kept.
    """
    networks = sorted({f"{match[1].lower()} {match[2]}" for match in _NETWORK.finditer(prompt)})
    text, changes = _without_changes(_NETWORK.sub("", prompt))
    text, ands = _AND.subn(",", text)
    left_out = (*networks, *changes, *(["AND between prompts"] if ands else []))
    if left_out:
        text = "\n".join(re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")).strip(" ,")
    return Resolved(text, left_out)


def sections_of(prompt: str) -> tuple[Section, ...]:
    """A prompt's weighted pieces. Raises UsageError for what is not done here, and as `weighted` does."""
    if left_out := resolved(prompt).left_out:
        raise UsageError(
            f"the prompt holds {', '.join(left_out)}, which --prompt-syntax webui does not do: leave it out; "
            "a LoRA is added by --lora"
        )
    return weighted(prompt)


@dataclass
class _Bracket:
    """An open bracket: its letter, what stands in it, and where `:` and `|` are among that."""

    letter: str = ""
    inner: list[str] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


def _without_changes(text: str) -> tuple[str, list[str]]:
    """The text with the first words of each change, and which kinds of these there were."""
    open_ones = [_Bracket()]
    kinds = dict[str, None]()
    for part in _PARTS.findall(text):
        here = open_ones[-1]
        if part in ("(", "["):
            open_ones.append(_Bracket(part))
            continue
        if part in _CLOSES and here.letter == _CLOSES[part]:
            open_ones.pop()
            kind, part = _closed(here, part)
            kinds |= dict.fromkeys(kind)
            here = open_ones[-1]
        elif part in (":", "|"):
            here.marks.append(len(here.inner))
        here.inner.append(part)
    return "".join("".join((each.letter, *each.inner)) for each in open_ones), list(kinds)


def _closed(bracket: _Bracket, closing: str) -> tuple[list[str], str]:
    """Which kind of change a pair of brackets is, if any, and what is kept of it."""
    marks = [bracket.inner[place] for place in bracket.marks] if bracket.letter == "[" else []
    if "|" in marks:
        return ["alternating words"], _between(bracket)[0]
    words = _between(bracket) if marks else []
    if len(words) in (2, 3) and _NUMBER.fullmatch(words[-1]):
        return ["words that change on the way"], words[0] or words[1] if len(words) == 3 else words[0]
    return [], "".join((bracket.letter, *bracket.inner, closing))


def _between(bracket: _Bracket) -> list[str]:
    """The texts between a bracket's marks."""
    starts = [0, *(place + 1 for place in bracket.marks)]
    ends = [*bracket.marks, len(bracket.inner)]
    return ["".join(bracket.inner[start:end]) for start, end in zip(starts, ends, strict=True)]
