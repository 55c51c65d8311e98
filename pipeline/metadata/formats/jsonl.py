"""JSON, packed or not: objects in blocks of bounded memory, one on each line or in a list."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from .json_value import Listed, listed_in, rows_of
from .native_jsonl import columns_of
from .records import BLOCK_VALUES, Blocks, Reading, Tally, require_columns
from .text import line_blocks

__all__ = ["read"]

_ROWS, _CHARACTERS = 20_000, 8 << 20  # of a block

Row: TypeAlias = dict[str, Any]


def read(path: Path, reading: Reading, tally: Tally) -> Blocks:
    """The rows of a file with one object a line, or of one list of objects, as its content says.

    What is no object is left out and counted. Raises SourceError for more keys than metadata has, and for a
    list that is no JSON or cut short.
    """
    listed = listed_in(path, reading)
    return _lines(path, tally) if listed is None else _items(path, listed, tally)


def _items(path: Path, listed: Listed, tally: Tally) -> Blocks:
    waiting: list[Row] = []
    names, begin = dict[str, None](), 0
    for taken, row in rows_of(path, listed, tally):
        waiting.append(row)
        _add_names([row], names)
        full = len(waiting) >= _ROWS or len(waiting) * len(names) > BLOCK_VALUES
        if full or taken - begin > _CHARACTERS:
            yield _columns(waiting, names)
            waiting, begin = [], taken
    if waiting:
        yield _columns(waiting, names)


def _columns(rows: Sequence[Row], names: Iterable[str]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in names}


def _lines(path: Path, tally: Tally) -> Blocks:
    first, names = 1, dict[str, None]()
    for lines in line_blocks(path):
        full = [line for line in lines if line and not line.isspace()]
        if (columns := columns_of(full)) is not None:
            tally.read += len(full)
            first += len(lines)
            _add_names([columns], names)
            yield columns
            continue
        rows = _at_once(lines) or _one_by_one(lines, first, tally)
        tally.read += len(rows)
        first += len(lines)
        _add_names(rows, names)
        for part in range(0, len(rows), most := max(1, BLOCK_VALUES // max(1, len(names)))):
            yield _columns(rows[part : part + most], names)


def _add_names(rows: Iterable[Mapping[str, Any]], names: dict[str, None]) -> None:
    for row in rows:
        if not row.keys() <= names.keys():
            names.update(dict.fromkeys(row))
            require_columns(len(names))


def _at_once(lines: list[str]) -> list[Row] | None:
    """The objects of lines that are one object each, or blank; None where some may be something else.

    They are parsed as one array, with a number between two that no line can know: so no line can pass for
    two, nor two for one.
    """
    between = secrets.randbits(62)
    full = [line for line in lines if line and not line.isspace()]
    try:
        found = json.loads(f"[{f',{between},'.join(full)}]")
    except (ValueError, RecursionError):
        return None
    rows = found[::2]
    alternate = len(found) == max(0, 2 * len(full) - 1) and all(each == between for each in found[1::2])
    return rows if alternate and all(type(row) is dict and row for row in rows) else None


def _one_by_one(lines: list[str], first: int, tally: Tally) -> list[Row]:
    rows = (_object(line, number, tally) for number, line in enumerate(lines, first))
    return [row for row in rows if row is not None]


def _object(line: str, number: int, tally: Tally) -> Row | None:
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        tally.drop(f"line {number:,}: {str(error)[:200]}")
        return None
    if not isinstance(row, dict):
        tally.drop(f"line {number:,} is no object")
        return None
    if not row:
        tally.drop(f"line {number:,} is an object without keys")
        return None
    return row
