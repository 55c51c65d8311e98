"""A file of one JSON value, an array of objects or an object with one list of them, read piece by piece.

clip-retrieval's client answers with such an array, the Hub's page of a data set with such an object (`rows`).
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import SourceError
from ..columns import NAMES, label_names
from ..inside import FILE_NAME
from .records import Reading, Tally
from .text import lines_of, text_blocks

__all__ = ["QUERY_SIMILARITY", "Listed", "listed_in", "rows_of"]

QUERY_SIMILARITY = "query_similarity"  # a score whose scale is no aesthetic predictor's
_LONGEST = 8 << 20  # characters of an object
_BLOCK = 1 << 20  # characters that are read at a time
_BLANK = re.compile(r"[ \t\n\r]*")
_LITERAL = 12  # characters of the longest piece that one character more may change: \\ud83d\\ude00
_DECODER = json.JSONDecoder()
_MOST_FEATURES = 2000
_PAGE = ("rows", "row")  # of the Hub's viewer: {"features": [...], "rows": [{"row": {...}}, ...]}


@dataclass
class Listed:
    """Where the objects are: under a key, or nowhere but at the top (None); what a page says of columns."""

    key: str | None = None
    features: list[Any] = field(default_factory=list)
    is_page: bool = False

    def labels(self) -> dict[str, tuple[str, ...]]:
        """The class labels of the columns of a page that have some."""
        named = {
            each["name"]: each.get("type") for each in self.features if isinstance(each.get("name"), str)
        }
        found = ((name, label_names(kind)) for name, kind in named.items() if self.is_page)
        return {name: names for name, names in found if isinstance(names, tuple)}


class _Text:
    """A file's characters, of which only those of the value that is being read are kept."""

    def __init__(self, path: Path) -> None:
        self._blocks = text_blocks(path, _BLOCK)
        self._text, self._at = "", 0
        self._lines, self._column = 1, 1  # of what comes first in the text that is kept
        self.taken = 0  # characters that are no longer kept

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._at = self._at if blank is None else blank.end()
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, wanted: str) -> str:
        """Take the next character, which must be one of those wanted. Raises SourceError."""
        found = self.peek()
        if not found or found not in wanted:
            said = " or ".join(wanted)
            raise self.fault(f"it ends where {said} is to be" if not found else f"no {said} but {found!r}")
        self._at += 1
        return found

    def value(self) -> Any:
        """Take the next value. Raises SourceError: it is none, too large, or cut short."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated") or error.pos + _LITERAL > len(self._text)
                if not (is_cut and self._more()):
                    self._at = error.pos
                    raise self.fault("it is cut short: " + error.msg if is_cut else error.msg) from None
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, endless brackets
                raise self.fault(str(error)[:200]) from None
            else:
                if end < len(self._text) or self._text[end - 1] in '}]"' or not self._more():
                    self._at = end
                    return value

    def is_on_the_first_line(self) -> bool:
        """Whether no line ended yet."""
        return self._place()[0] == 1

    def fault(self, what: str) -> SourceError:
        """What is wrong at this place."""
        line, column = self._place()
        return SourceError(f"line {line:,}, column {column:,}: {what}")

    def _place(self) -> tuple[int, int]:
        lines = self._text.count("\n", 0, self._at)
        column = self._at - self._text.rfind("\n", 0, self._at) if lines else self._column + self._at
        return self._lines + lines, column

    def _more(self) -> bool:
        """Read on, as much again as is kept; whether there was more."""
        self._lines, self._column = self._place()
        self.taken += self._at
        kept = self._text[self._at :]
        self._text, self._at = kept, 0
        if len(kept) > _LONGEST:
            raise self.fault(f"a value of more than {_LONGEST >> 20} MiB: is it metadata?")
        pieces: list[str] = []
        while sum(map(len, pieces)) <= len(kept) and (piece := next(self._blocks, "")):
            pieces.append(piece)
        self._text = "".join([kept, *pieces])
        return bool(pieces)


def listed_in(path: Path, reading: Reading) -> Listed | None:
    """Where the objects of a file are that is one JSON value; None: it has an object on each line.

    Raises SourceError: it cannot be told which of several lists is meant, or the value breaks off.
    """
    text = _Text(path)
    first = text.peek()
    if first != "{":
        return Listed() if first == "[" else None
    lists: dict[str, int] = {}
    found, keys = Listed(), list[str]()
    try:
        for key, item in _members(text):
            keys += [] if keys and keys[-1] == key else [key]
            if isinstance(item, dict):
                lists[key] = lists.get(key, 0) + 1
                found.is_page = found.is_page or (key == _PAGE[0] and isinstance(item.get(_PAGE[1]), dict))
                if key == "features" and len(found.features) < _MOST_FEATURES:
                    found.features.append(item)
    except SourceError:
        if not lists or _is_lines(path):
            return None
        raise
    if text.peek() or _is_a_row(keys, reading) or (not lists and text.is_on_the_first_line()):
        return None
    found.key = _PAGE[0] if found.is_page else _only(lists)
    return found


def _is_lines(path: Path) -> bool:
    """Whether the second line of a file looks like an object of its own."""
    with contextlib.suppress(SourceError):  # a line that is endless
        lines = (line for line in lines_of(path) if line and not line.isspace())
        return next(islice(lines, 1, 2), "").startswith("{")
    return False


def _members(text: _Text) -> Iterator[tuple[str, Any]]:
    """The keys of an object: each with None for its value, or with the items of a list one by one."""
    text.take("{")
    while text.peek() != "}":
        key = text.value() if text.peek() == '"' else text.take('"')
        text.take(":")
        yield key, None
        if text.peek() == "[":
            yield from ((key, item) for item in _items(text))
        else:
            text.value()
        if text.take(",}") == "}":
            return
    text.take("}")


def _items(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    mark = ","
    while mark == ",":
        yield text.value()
        mark = text.take(",]")


def _is_a_row(keys: Sequence[str], reading: Reading) -> bool:
    """Whether an object with such keys is a picture itself."""
    links = {*reading.links(), FILE_NAME, "location"}
    return any(key.lower() in links for key in keys)


def _only(lists: Mapping[str, int]) -> str:
    if not lists:
        raise SourceError(
            "it is one JSON object without a list of objects: write an array of objects, or one object a line"
        )
    if len(lists) > 1:
        said = ", ".join(f"{key} ({count:,})" for key, count in lists.items())
        raise SourceError(
            f"it is one JSON object with several lists of objects, {said[:500]}: write the one that is meant "
            f"by itself (jq '.{next(iter(lists))}')"
        )
    return next(iter(lists))


def rows_of(path: Path, listed: Listed, tally: Tally) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file's list, each with how many characters were read before it.

    Items that are no objects are left out and counted. Raises SourceError, with the place, if it is no JSON.
    """
    text, labels = _Text(path), listed.labels()
    items = _items(text) if listed.key is None else _items_under(text, listed.key)
    for number, item in enumerate(items, 1):
        row = item.get(_PAGE[1]) if listed.is_page and isinstance(item, dict) else item
        if not isinstance(row, dict) or not row:
            tally.drop(f"item {number:,} is no object")
            continue
        tally.read += 1
        yield text.taken, _flat(row, labels) if listed.is_page else _scored(row)
    if listed.key is None and text.peek():
        raise text.fault("there is more after the end of the array: write one array, or one object a line")


def _items_under(text: _Text, key: str) -> Iterator[Any]:
    return (item for name, item in _members(text) if name == key and item is not None)


def _scored(row: dict[str, Any]) -> dict[str, Any]:
    """A row; of an answer of clip-retrieval how similar it is to the query, which ranks it.

    That is no similarity of picture and caption, as the column of that name is elsewhere, and no beauty.
    """
    if "similarity" not in row or "id" not in row or any(name.lower() in NAMES["score"] for name in row):
        return row
    return {**row, QUERY_SIMILARITY: row["similarity"]}


def _flat(row: dict[str, Any], labels: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """A row of the Hub's page, whose pictures are `{"src": ..., "height": ..., "width": ...}`."""
    row = {**row, **{name: _named(row.get(name), names) for name, names in labels.items()}}
    image = next((each for each in row.values() if isinstance(each, dict) and "src" in each), None)
    if image is None or any(name.lower() in NAMES["url"] for name in row):
        return row
    sizes = {name: image.get(name) for name in ("width", "height") if name not in row}
    return {NAMES["url"][0]: image["src"], **row, **sizes}


def _named(value: Any, names: Sequence[str]) -> Any:
    """A class label's name, or those of a list of them."""
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return names[value] if type(value) is int and 0 <= value < len(names) else None
