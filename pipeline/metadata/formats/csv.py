"""CSV and TSV, and plain lists of links, packed or not: records of text in blocks of bounded memory."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from ...errors import SourceError
from .native_csv import columns_of, is_plain, whole_records
from .records import BLOCK_VALUES, Blocks, Reading, Tally, require_columns
from .text import line_blocks, lines_of

__all__ = ["read", "read_links", "read_tsv"]

_BLOCK = 16 << 20  # characters of records looked at together
_LONGEST_FIELD = 16 << 20
Records: TypeAlias = Iterator[tuple[int, list[str]]]
_SEPARATORS = {"\t": ("tabs", ".tsv"), ";": ("semicolons", ""), "|": ("bars", ""), ",": ("commas", ".csv")}
_END = "\0visunex: no more lines\0"  # a record of its own, unless a quote before it is never closed


def read(path: Path, reading: Reading, tally: Tally) -> Blocks:
    """The rows of a CSV file. Raises SourceError: it has no header, or a quote that is never closed.

    A quote inside a field that does not begin with one is a letter. A row with more or fewer fields than
    the header is left out and counted.
    """
    blocks = map(_without_returns, line_blocks(path))
    first = next(blocks, [])
    names, begin = _names(_csv(first), reading, ",")
    line, waiting = begin + 1, first[begin:]
    for lines in blocks:
        count = whole_records(waiting)
        text = "\n".join(waiting[:count])
        if not count or not is_plain(text):
            yield from _blocks(_csv(chain(waiting, lines, chain.from_iterable(blocks)), line), names, tally)
            return
        yield from _block(text, names, ",", tally, partial(_csv, waiting[:count], line))
        line += count
        waiting = waiting[count:] + lines
    text = "\n".join(waiting)
    if is_plain(text):
        yield from _block(text, names, ",", tally, partial(_csv, waiting, line))
    else:
        yield from _blocks(_csv(waiting, line), names, tally)


def read_tsv(path: Path, reading: Reading, tally: Tally) -> Blocks:
    """The rows of a TSV file, where a quote is a letter like any other."""
    names: list[str] = []
    line = 1
    for number, lines in enumerate(line_blocks(path)):
        rows, begin = lines, 0
        if not number:
            names, begin = _names(_tsv(lines), reading, "\t")
            rows = lines[begin:]
        yield from _block("\n".join(rows), names, "\t", tally, partial(_tsv, rows, line + begin))
        line += len(lines)
    if not names:
        _names(iter(()), reading, "\t")


def _without_returns(lines: list[str]) -> list[str]:
    return [line.replace("\r", " ") for line in lines] if "\r" in "".join(lines) else lines


def _block(
    text: str, names: Sequence[str], separator: str, tally: Tally, exact: Callable[[], Records]
) -> Blocks:
    """The rows of lines that end with a record: read at once where they are simple, else record by record."""
    columns = columns_of(text, names, separator) if text else None
    if columns is None:
        yield from _blocks(exact(), names, tally)
        return
    rows = len(next(iter(columns.values())).values)
    tally.read += rows
    if rows:
        yield columns


def _csv(lines: Iterable[str], first: int = 1) -> Records:
    """The records of lines of CSV, with the lines that they begin at."""
    csv.field_size_limit(_LONGEST_FIELD)
    records = csv.reader(chain((f"{line}\n" for line in lines), [_END]))
    try:
        yield from _whole(records, first)
    except csv.Error as error:
        raise SourceError(
            f"line {first - 1 + records.line_num:,}: {error}; perhaps a quote before it is never closed"
        ) from None


def _tsv(lines: Iterable[str], first: int = 1) -> Records:
    for number, line in enumerate(lines, first):
        yield number, line.split("\t") if line else []


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
        yield from _blocks(lines, reading.names or ("url",), tally)


def _whole(records: Any, first: int) -> Records:
    """The records with the lines that they begin at. Raises SourceError for a quote that is never closed."""
    line = first
    for record in records:
        if record == [_END]:
            return
        if record and record[-1].endswith(_END):
            raise SourceError(f"line {line:,}: a quote is never closed")
        yield line, record
        line = first + records.line_num


def _names(records: Records, reading: Reading, separator: str) -> tuple[list[str], int]:
    """The columns' names, and how many lines they take: none where the user gave them."""
    if reading.names:
        return list(reading.names), 0
    full = ((line, record) for line, record in records if record)
    line, record = next(full, (0, []))
    if separator == "," and record == ["sep=", ""]:  # as Excel says which separator it has written
        line, record = next(full, (0, []))
    _require_separated(record, separator)
    names = _header(record)
    require_columns(len(names))
    return names, line + sum(name.count("\n") for name in record)


def _blocks(records: Records, names: Sequence[str], tally: Tally) -> Blocks:
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


def _header(record: list[str]) -> list[str]:
    names = [name.strip() for name in record]
    if not names:
        raise SourceError("it is empty: its first line should name the columns")
    if any("://" in name for name in names):
        raise SourceError(
            f"its first line holds a link where names of columns should be: name its {len(names)} columns "
            "in order, as in --column-names caption,url"
        )
    return _required(names)


def _require_separated(record: list[str], separator: str) -> None:
    """Raise SourceError where the first line has one field, and in it what other files separate fields by."""
    others = [each for each in _SEPARATORS if len(record) == 1 and each != separator and each in record[0]]
    if not others:
        return
    what, name = _SEPARATORS[others[0]]
    wanted, own = _SEPARATORS[separator]
    pandas = f"pandas.read_csv(FILE, sep={others[0]!r}, decimal=',').to_csv(OTHER, index=False)"
    do = f"call it {name}" if name else f"write it with commas, and points in decimals ({pandas})"
    raise SourceError(f"its fields are separated by {what}, those of a {own} file by {wanted}: {do}")


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
