"""CSV and TSV, and plain lists of links, packed or not: records of text in blocks of bounded memory."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import SourceError
from .records import BLOCK_VALUES, Blocks, Reading, Tally, require_columns
from .text import lines_of

__all__ = ["read", "read_links", "read_tsv"]

_BLOCK = 16 << 20  # characters of records looked at together
_LONGEST_FIELD = 16 << 20
_END = "\0visunex: no more lines\0"  # a record of its own, unless a quote before it is never closed


def read(path: Path, reading: Reading, tally: Tally) -> Blocks:
    """The rows of a CSV file. Raises SourceError: it has no header, or a quote that is never closed.

    A quote inside a field that does not begin with one is a letter. A row with more or fewer fields than
    the header is left out and counted.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    source = (f"{line.replace(chr(13), ' ')}\n" for line in lines_of(path))
    records = csv.reader(chain(source, [_END]))
    try:
        yield from _blocks(_whole(records), reading, tally)
    except csv.Error as error:
        raise SourceError(
            f"line {records.line_num:,}: {error}; perhaps a quote before it is never closed"
        ) from None


def read_tsv(path: Path, reading: Reading, tally: Tally) -> Blocks:
    """The rows of a TSV file, where a quote is a letter like any other."""
    lines = (line.split("\t") for line in lines_of(path))
    numbered = ((number, [] if fields == [""] else fields) for number, fields in enumerate(lines, 1))
    yield from _blocks(numbered, reading, tally)


def read_links(path: Path, reading: Reading, tally: Tally) -> Blocks:
    """The lines of a plain list of links; one with tabs is TSV, one that begins with no link is CSV."""
    first = next((line for line in lines_of(path) if line.strip()), "")
    if "\t" in first:
        yield from read_tsv(path, reading, tally)
    elif "://" not in first.split(",")[0]:
        yield from read(path, reading, tally)
    else:
        lines = (
            (number, [line.strip()] if line.strip() else []) for number, line in enumerate(lines_of(path), 1)
        )
        yield from _blocks(lines, Reading(reading.columns, reading.names or ("url",)), tally)


def _whole(records: Any) -> Iterator[tuple[int, list[str]]]:
    """The records with the lines that they begin at. Raises SourceError for a quote that is never closed."""
    line = 1
    for record in records:
        if record == [_END]:
            return
        if record and record[-1].endswith(_END):
            raise SourceError(f"line {line:,}: a quote is never closed")
        yield line, record
        line = records.line_num + 1


def _blocks(records: Iterator[tuple[int, list[str]]], reading: Reading, tally: Tally) -> Blocks:
    names = list(reading.names) or _header(records)
    require_columns(len(names))
    rows: list[list[str]] = []
    size = 0
    for line, record in records:
        if not record:
            continue
        if not _fits(record, len(names)):
            tally.drop(f"line {line:,} has {len(record):,} fields, not {len(names):,}")
            continue
        tally.read += 1
        rows.append(record)
        size += sum(map(len, record))
        if size > _BLOCK or len(rows) * len(names) > BLOCK_VALUES:
            yield _columns(names, rows)
            rows, size = [], 0
    if rows:
        yield _columns(names, rows)


def _fits(record: list[str], count: int) -> bool:
    """Whether a record has so many fields; empty ones beyond them do no harm, and are taken away."""
    while len(record) > count and not record[-1]:
        record.pop()
    return len(record) == count


def _header(records: Iterator[tuple[int, list[str]]]) -> list[str]:
    names = next(([name.strip() for name in record] for _, record in records if record), [])
    if not names:
        raise SourceError("it is empty: its first line should name the columns")
    if any("://" in name for name in names):
        raise SourceError(
            f"its first line holds a link where names of columns should be: name its {len(names)} columns "
            "in order, as in --column-names caption,url"
        )
    return _required(names)


def _required(names: list[str]) -> list[str]:
    while names and not names[-1]:
        names.pop()  # a separator too many at the end of each line
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SourceError(f"it names the column {twice[0]!r} twice in its first line")
    return names


def _columns(names: Sequence[str], rows: list[list[str]]) -> dict[str, list[str | None]]:
    columns = zip(*rows, strict=True)
    return {name: [value or None for value in column] for name, column in zip(names, columns, strict=True)}
