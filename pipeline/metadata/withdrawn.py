"""A list of withdrawn links, in any form that such lists have: which of a run's links it names.

Lines, quoted or not; CSV and TSV with columns; JSON lines or one JSON array; parquet. An entry is an address
or the MD5 or SHA-256 of one. Addresses are compared as they are fetched: without blanks or a fragment, say.
"""

import csv
import gzip
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.base.errors import first_line
from visunex.net.addresses import checked_url
from visunex.net.errors import FetchError

from ..errors import UsageError, parquet_errors
from ..shards.footer import opened_parquet
from .filetypes import GZIP

__all__ = ["Withdrawn", "withdrawn"]

_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_ADDRESS = re.compile(r"https?://\S", re.IGNORECASE)
_SEPARATORS = ("\t", ",", ";", "|")
_DEEPEST = 4


@dataclass(frozen=True)
class Withdrawn:
    """The ranks of the links that a list names, how many entries it has, and how many of these name one."""

    ranks: frozenset[int]
    entries: int
    matched: int


def withdrawn(urls: Sequence[str | None], path: Path) -> Withdrawn:
    """Which links a list names. Raises UsageError: it cannot be read, or holds what is no address or hash."""
    ranks: dict[str, list[int]] = {}
    for rank, url in enumerate(urls):
        for name in _names(url) if url else ():
            ranks.setdefault(name, []).append(rank)
    found: set[int] = set()
    entries = matched = 0
    try:
        for names in _entries(path):
            named = [ranks[name] for name in names if name in ranks]
            entries, matched = entries + 1, matched + bool(named)
            found.update(rank for each in named for rank in each)
    except (OSError, ValueError, EOFError, zlib.error, csv.Error, RecursionError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UsageError(f"--exclude-urls: {path} cannot be read: {reason}") from None
    return Withdrawn(frozenset(found), entries, matched)


def _names(url: str) -> set[str]:
    """What a list may call a link: itself, as it is fetched, or the MD5 or SHA-256 of either."""
    forms = {url, url.strip(), html.unescape(url.strip())}
    forms |= {form for form in map(_normal, forms) if form}
    data = [form.encode("utf-8", "surrogatepass") for form in forms]
    hashes = (hashlib.new(kind, each, usedforsecurity=False) for each in data for kind in ("md5", "sha256"))
    return forms | {each.hexdigest() for each in hashes}


def _normal(url: str) -> str | None:
    try:
        return checked_url(url).url
    except FetchError:
        return None


def _entry(text: str) -> set[str]:
    """The names that a text may be: of an address itself and its normal form, of a hash that; else none."""
    text = text.strip().strip("\"'<>").strip()
    if _HASH.fullmatch(text.lower()):
        return {text.lower()}
    if not _ADDRESS.match(text):
        return set()
    return {text, _normal(text) or text}


def _entries(path: Path) -> Iterator[set[str]]:
    """The names of each entry."""
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _text_rows(path)
    for place, texts in rows:
        names = {name for text in texts for name in _entry(text)}
        if not names:
            shown = ", ".join(texts)[:80]
            raise UsageError(
                f"--exclude-urls: {path}, {place}: {shown!r} is neither an address (https://...) nor the "
                "MD5 or SHA-256 of one"
            )
        yield names


def _parquet_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        file = opened_parquet(path)
        number = 0
        for batch in file.iter_batches(1 << 14):
            for row in batch.to_pylist():
                number += 1
                if texts := [text for text in _texts(row.values()) if text.strip()]:
                    yield f"row {number}", texts
    except parquet_errors() as error:
        raise ValueError(first_line(error)) from None


def _text_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    opener: Any = gzip.open if packed else open
    with opener(path, "rt", encoding="utf-8-sig", newline=None) as lines:
        yield from _rows((number, line.strip()) for number, line in enumerate(lines, 1))


def _rows(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[str, list[str]]]:
    """The texts of each line, blank ones and comments aside; the names of columns at the top are no entry."""
    first = True
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        if first and line.startswith("["):
            whole = "\n".join([line, *(rest for _, rest in lines)])
            yield from ((f"entry {at}", _texts([each])) for at, each in enumerate(json.loads(whole), 1))
            return
        texts = _parts(line)
        if not (first and texts and _is_header(texts)):
            yield f"line {number}", texts
        first = False


def _parts(line: str) -> list[str]:
    """A line whole, and its parts where it has columns."""
    if line.startswith("{"):
        return _texts([json.loads(line)])
    parts = [next(csv.reader([line], delimiter=each), []) for each in _SEPARATORS if each in line]
    return [line, *(text for texts in parts for text in texts)]


def _is_header(texts: Sequence[str]) -> bool:
    """Whether these are names of columns: words, none of them an address or hash."""
    return not any(map(_entry, texts)) and all(
        re.fullmatch(r"[\w .-]{1,40}", text) for text in texts[1:] or texts
    )


def _texts(values: Iterable[Any], depth: int = 0) -> list[str]:
    """The texts in JSON values, however they are wrapped."""
    found: list[str] = []
    for value in values if depth <= _DEEPEST else ():
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, (dict, list)):
            found += _texts(value.values() if isinstance(value, dict) else value, depth + 1)
    return found
