"""What the web UI's prompts hold besides words: weights, networks, changes on the way. We have words only."""

import re
from dataclasses import dataclass

__all__ = ["Plain", "plain"]

_NETWORK = re.compile(r"<(lora|lyco|hypernet):([^<>:]{1,200})[^<>]{0,200}>", re.IGNORECASE)
_WEIGHT = re.compile(r":\s*[+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*$")
_BREAK = re.compile(r"\bBREAK\b")
_AND = re.compile(r"\bAND\b")
_PARTS = re.compile(r"\\.|[()\[\]{}]|[^\\()\[\]{}]+|\\", re.DOTALL)
_CLOSES = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class Plain:
    """A prompt's words, and what was left out of it, for a person."""

    text: str
    left_out: tuple[str, ...]


def plain(prompt: str, *, braces: bool = False) -> Plain:
    """The words of a web UI's prompt; with `braces` of NovelAI's, which emphasises with `{}`.

    `(word:1.3)`, `((word))` and `[word]` give the word, `\\(` a bracket; of `[from:to:when]` and `[a|b]` the
    first is kept; `<lora:name:1>` and `BREAK` are left out.
    """
    networks = sorted({f"{match[1].lower()} {match[2]}" for match in _NETWORK.finditer(prompt)})
    text = _NETWORK.sub("", prompt)
    left_out = [*networks]
    if _BREAK.search(text):
        text = _BREAK.sub(" ", text)
        left_out.append("BREAK")
    if _AND.search(text):
        left_out.append("AND, which is read as a word")
    words, found = _without_brackets(text, "([{" if braces else "([")
    left_out += found
    if networks or left_out:
        words = "\n".join(re.sub(r"[ \t]+", " ", line).strip() for line in words.split("\n")).strip(" ,")
    return Plain(words, tuple(left_out))


def _without_brackets(text: str, opening: str) -> tuple[str, list[str]]:
    """The text with brackets resolved, and which kinds of them there were."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    kinds = dict[str, None]()
    for part in _PARTS.findall(text):
        if part in opening:
            stack.append((part, []))
        elif part in _CLOSES and stack[-1][0] == _CLOSES[part]:
            kind, inner = stack.pop()
            words, what = _resolved(kind, "".join(inner))
            kinds[what] = None
            stack[-1][1].append(words)
        else:
            escaped = len(part) == 2 and part[0] == "\\" and part[1] in "()[]{}\\"
            stack[-1][1].append(part[1] if escaped else part)
    text = "".join("".join((kind, *inner)) for kind, inner in stack)  # those never closed are letters
    return text, list(kinds)


def _resolved(kind: str, inner: str) -> tuple[str, str]:
    """What is kept of a bracket's inside, and what the bracket was."""
    if kind == "[" and "|" in inner:
        return inner.partition("|")[0], "alternating words"
    if kind == "[" and ":" in inner:
        first, _, rest = inner.partition(":")
        return first or rest.partition(":")[0], "words that change on the way"
    return (_WEIGHT.sub("", inner) if kind == "(" else inner), "emphasis"
