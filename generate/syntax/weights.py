"""A prompt's text -> pieces with weights: `(word)`, `(word:1.2)`, `[word]`, `\\(`, `BREAK`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from ..errors import UsageError

__all__ = ["Piece", "Section", "as_letters", "weighted"]

STRONGER = 1.1  # of a pair of round brackets without a number; square ones divide by it
MOST_WEIGHT = 1e6
DEEPEST = 100  # brackets inside one another

_PARTS = re.compile(
    r"\\(?P<letter>[()\[\]\\]?)"
    r"|:\s*(?P<weight>[+-]?(?:\d{1,9}(?:\.\d{0,20})?|\.\d{1,20}))\s*\)"
    r"|[()\[\]]|[^\\()\[\]:]+|:"
)
_BREAK = re.compile(r"\bBREAK\b")
_MEANT = re.compile(r"[()\[\]\\]|\b(?:BREAK|AND)\b")


@dataclass(frozen=True)
class Piece:
    """Some of a prompt's text, and the factor of what the text encoder makes of it."""

    text: str
    weight: float


# Pieces between one `BREAK` and the next, or the ends of the prompt.
Section = tuple[Piece, ...]


def weighted(text: str) -> tuple[Section, ...]:
    """The pieces of a prompt, by `BREAK` in sections: one more than there are of these.

    `(word:1.2)` gives its words that weight, `(word)` 1.1, `[word]` 1 / 1.1; brackets inside brackets
    multiply, those that are never closed reach to the end. `\\(`, `\\)`, `\\[`, `\\]` and `\\\\` are letters,
    another backslash is nothing. Neighbours of one weight are one piece, and so are tokenised as one text. A
    `BREAK` between brackets is one too; the web UI reads that as a word. Raises UsageError for weights beyond
    a million, and for more than a hundred brackets inside one another.
    """
    reading = _Reading()
    for part in _PARTS.finditer(text):
        reading.take(part)
    return tuple(reading.sections())


def as_letters(text: str, meant: re.Pattern[str] = _MEANT) -> str:
    """A text that the web UI reads as just these words: what it would take for more is written as letters.

    `BREAK` and `AND` become small, which text encoders read the same. `meant` finds what is not to be kept.
    """
    return meant.sub(lambda match: match[0].lower() if match[0].isalpha() else f"\\{match[0]}", text)


class _Reading:
    """The pieces read so far, where sections begin among them, and the brackets that are open."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._weights: list[float] = []
        self._breaks: list[int] = []
        self._open: dict[str, list[int]] = {"(": [], "[": []}

    def take(self, part: re.Match[str]) -> None:
        text, number = part[0], part["weight"]
        if part["letter"] is not None:
            self._add(part["letter"])
        elif text in self._open:
            self._opened(text)
        elif self._open["("] and (number or text == ")"):
            self._multiply(self._open["("].pop(), float(number) if number else STRONGER)
        elif self._open["["] and text == "]":
            self._multiply(self._open["["].pop(), 1 / STRONGER)
        else:
            self._words(text)

    def sections(self) -> Iterator[Section]:
        """What was read, with brackets that are still open closed."""
        for bracket, factor in (("(", STRONGER), ("[", 1 / STRONGER)):
            for start in self._open[bracket]:
                self._multiply(start, factor)
        for first, last in zip((0, *self._breaks), (*self._breaks, len(self._texts)), strict=True):
            yield tuple(_joined(self._texts[first:last], self._weights[first:last]))

    def _add(self, text: str) -> None:
        self._texts.append(text)
        self._weights.append(1.0)

    def _opened(self, bracket: str) -> None:
        self._open[bracket].append(len(self._texts))
        if sum(map(len, self._open.values())) > DEEPEST:
            raise UsageError(
                f"the prompt has more than {DEEPEST} brackets inside one another: close them, or write \\( "
                "for a bracket that is a letter"
            )

    def _words(self, text: str) -> None:
        parts = _BREAK.split(text)
        for number, words in enumerate(parts):
            if number:
                self._breaks.append(len(self._texts))
                words = words.lstrip()
            self._add(words.rstrip() if number + 1 < len(parts) else words)

    def _multiply(self, start: int, factor: float) -> None:
        self._weights[start:] = [weight * factor for weight in self._weights[start:]]


def _joined(texts: list[str], weights: list[float]) -> Iterator[Piece]:
    for weight, group in groupby(zip(texts, weights, strict=True), key=lambda pair: pair[1]):
        text = "".join(words for words, _ in group)
        if text and abs(weight) > MOST_WEIGHT:
            raise UsageError(
                f"the weights of {text[:40]!r} in the prompt multiply to {weight:.4g}: at most 1000000"
            )
        if text:
            yield Piece(text, weight)
