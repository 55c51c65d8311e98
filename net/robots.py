"""What a server's headers forbid: `X-Robots-Tag` as search engines read it, and TDM's reservation."""

import re
from collections.abc import Iterable
from typing import Literal, get_args

__all__ = ["DIRECTIVES", "Directive", "forbidden"]

Directive = Literal["noai", "noimageai", "noml", "tdm-reservation", "noindex", "noimageindex"]
DIRECTIVES: tuple[Directive, ...] = get_args(Directive)

_US = frozenset({"visunex", "*"})  # whom a directive must be addressed to, where it is addressed
# What stands before a colon is an agent's name, unless it is a directive itself (`max-snippet: 5`) or no name
# at all (the hour of a date).
_DIRECTIVE = re.compile(
    r"max-.*|unavailable_after|all|none|(no)?(index|follow|archive|snippet|translate|cache)|indexifembedded"
    rf"|{'|'.join(DIRECTIVES)}"
)
_AGENT = re.compile(r"[a-z*][\w.*+/-]*")
_ALSO: dict[str, Directive] = {"none": "noindex"}  # `none` is short for `noindex, nofollow`


def forbidden(tags: Iterable[str], reservations: Iterable[str] = ()) -> frozenset[Directive]:
    """The directives against our use in the values of X-Robots-Tag and tdm-reservation headers."""
    said = {_ALSO.get(text, text) for value in tags for text in _addressed_to_us(value)}
    if any(value.strip() == "1" for text in reservations for value in text.split(",")):
        said.add("tdm-reservation")
    return frozenset(directive for directive in DIRECTIVES if directive in said)


def _addressed_to_us(value: str) -> Iterable[str]:
    """The directives of a header, `[agent:] directive, directive: value, ...`, that are for all or for us."""
    agent = "*"
    for part in value.lower().split(","):
        words = [word.strip() for word in part.split(":")]
        while len(words) > 1 and _is_agent(words[0]):
            agent = words.pop(0)
        if agent in _US:
            yield words[0]


def _is_agent(word: str) -> bool:
    return bool(_AGENT.fullmatch(word)) and not _DIRECTIVE.fullmatch(word)
