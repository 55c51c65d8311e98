"""Keywords as patterns over captions, and the words to try when none matches.

Case is folded as Python's `re.IGNORECASE` folds it: character by character, over all of Unicode. So "ß" finds
"ẞ" but not "ss", "σ" finds "ς" and "Σ", "k" finds the Kelvin sign, and "i" finds "I", "İ" and "ı" (which the
regular expressions of Rust, that polars runs, keep apart). For literal keywords the two then agree on every
character, because the characters that differ are spelled out; regular expressions are Rust's own.
Captions are taken as they are: "é" as one character does not find "e" with a combining accent.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache, reduce
from operator import or_

import polars as pl

from visunex.base.errors import UsageError
from visunex.recipes.schema import Match

# One alternation of this many literals compiles well below the limit of Rust's regular expressions.
LITERALS_AT_ONCE = 200
SUGGESTIONS = 5

_RUST_SYNTAX = frozenset(r"\.+*?()|[]{}^$#&-~")


# What a pattern may weigh: beyond, its matching takes milliseconds a caption, or the memory of its automaton.
HEAVIEST = 4000
_UNICODE, _CLASS = 60, 4  # classes of Unicode's letters and the like, other ones; a letter weighs 1
_PIECE = re.compile(
    r"(?P<unicode>\\[pP](?:\{[^}]*\}|.)|\\[wWdDsS])|(?P<escaped>\\.)|(?P<class>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\])"
    r"|\{\s*(?P<least>\d+)\s*(?P<open>,\s*(?P<most>\d*)\s*)?\}|(?P<letter>.)",
    re.DOTALL,
)


def weight(pattern: str) -> int:
    """How large a regular expression's automaton gets, in letters, about: repetitions count as often as said.

    One that repeats a repetition counts both, so that `(a{100}){100}` weighs 10,000.
    """
    groups, last = [0], 0  # what was found in each open group, the last piece apart
    for piece in _PIECE.finditer(pattern):
        if piece["least"] is not None:
            last *= max(1, int((piece["most"] or piece["least"])[:9]))
            continue
        groups[-1] += last
        last = _weight_of(piece)
        if piece["letter"] == "(":
            groups.append(0)
            last = 0
        elif piece["letter"] == ")" and len(groups) > 1:
            last = groups.pop()
    return sum(groups) + last


def _weight_of(piece: re.Match[str]) -> int:
    if piece["unicode"] or (piece["class"] and re.search(r"\\[pPwWdDsS]", piece["class"])):
        return _UNICODE
    if piece["class"] or piece["letter"] == ".":
        return _CLASS
    return 0 if piece["letter"] in (*"()?*+|^$",) else 1


def any_of(caption: pl.Expr, keywords: Sequence[str], match: Match) -> pl.Expr:
    """Whether a caption holds at least one of the keywords, whatever its case; null where there is none.

    Raises UsageError, naming the keyword, for a regular expression that is none.
    """
    patterns = [_checked(keyword) for keyword in keywords] if match == "regex" else _literals(keywords, match)
    return reduce(or_, (caption.str.contains(f"(?i){pattern}") for pattern in patterns))


def _checked(pattern: str) -> str:
    if weight(pattern) > HEAVIEST:
        said = pattern if len(pattern) <= 100 else f"{pattern[:97]}..."
        raise UsageError(
            f"keyword {said!r} may take any time: it repeats more than {HEAVIEST} letters' worth; repeat "
            "less, or without an upper bound (+, *)"
        )
    try:
        pl.Series([""]).str.contains(f"(?i){pattern}")
    except pl.exceptions.ComputeError as error:
        why = str(error).split("\n\nThis error occurred")[0].strip().splitlines()[-1].removeprefix("error: ")
        raise UsageError(f"keyword {pattern!r} is not a valid regular expression: {why}") from None
    return pattern


def _literals(keywords: Sequence[str], match: Match) -> list[str]:
    start, end = (r"\b{start-half}", r"\b{end-half}") if match == "word" else ("", "")
    spelled = [spell(keyword) for keyword in keywords]
    groups = [spelled[n : n + LITERALS_AT_ONCE] for n in range(0, len(spelled), LITERALS_AT_ONCE)]
    return [f"{start}(?:{'|'.join(group)}){end}" for group in groups]


def spell(keyword: str) -> str:
    """`keyword` as a Rust pattern that, under (?i), matches what Python's `re.IGNORECASE` would."""
    return "".join(map(_spell, keyword))


def _spell(character: str) -> str:
    if character in "iI":
        return "[iıİ]"
    if character.isascii():
        return f"\\{character}" if character in _RUST_SYNTAX else character
    return f"(?-i:[{''.join(variants(character))}])"


@cache
def variants(character: str) -> tuple[str, ...]:
    """The characters that Python takes for `character` when case is ignored, itself included, in order."""
    alike = tuple(re.findall(re.escape(character), _cased_characters(), re.IGNORECASE))
    return alike or (character,)


@cache
def _cased_characters() -> str:
    """Every character that has another case; there are none beyond the first two planes."""
    planes = map(chr, (*range(0xD800), *range(0xE000, 0x20000)))
    return "".join(c for c in planes if not c == c.lower() == c.upper() == c.casefold())


def nearest_words(captions: pl.Series, keywords: Iterable[str]) -> list[str]:
    """The words of a sample of captions that are spelled most like the keywords, the likest first."""
    vocabulary = _vocabulary(captions)
    wanted = {word for keyword in keywords for word in re.findall(r"\w+", keyword.casefold())}
    near = {
        word: difflib.SequenceMatcher(None, word, target).ratio()
        for target in sorted(wanted)
        for word in difflib.get_close_matches(target, vocabulary, n=SUGGESTIONS, cutoff=0.6)
    }
    return sorted(near, key=lambda word: (-near[word], word))[:SUGGESTIONS]


def _vocabulary(captions: pl.Series, size: int = 20_000) -> list[str]:
    """The commonest words in lower case; equally common ones in alphabetical order."""
    words = captions.drop_nulls().str.to_lowercase().str.extract_all(r"\w{2,40}").explode().drop_nulls()
    counts = words.alias("word").value_counts(name="count").sort(["count", "word"], descending=[True, False])
    return counts["word"].head(size).to_list()
