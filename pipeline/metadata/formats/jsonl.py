"""JSON lines, packed or not: objects in blocks of bounded memory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import SourceError
from .records import BLOCK_VALUES, Blocks, Reading, Tally, require_columns
from .text import lines_of

__all__ = ["read"]

_BLOCK = 16 << 20  # characters of lines looked at together


def read(path: Path, _reading: Reading, tally: Tally) -> Blocks:
    """The rows of a file with one object a line; a line that is none is left out and counted.

    Raises SourceError for a file that is one JSON value, or that has more keys than metadata has.
    """
    rows: list[Mapping[str, Any]] = []
    names: dict[str, None] = {}
    size = 0
    for number, line in enumerate(lines_of(path), 1):
        row = _object(line, number, tally)
        if row is None:
            continue
        rows.append(row)
        names.update(dict.fromkeys(row))
        require_columns(len(names))
        size += len(line)
        if size > _BLOCK or len(rows) * len(names) > BLOCK_VALUES:
            yield _columns(rows, names)
            rows, size = [], 0
    if rows:
        yield _columns(rows, names)


def _object(line: str, number: int, tally: Tally) -> dict[str, Any] | None:
    if not line.strip():
        return None
    if number == 1 and line.lstrip().startswith("["):
        raise SourceError("it is not JSON lines but one array: write one object a line (jq -c '.[]')")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        tally.drop(f"line {number:,}: {str(error)[:200]}")
        return None
    if not isinstance(row, dict):
        tally.drop(f"line {number:,} is no object")
        return None
    tally.read += 1
    return row


def _columns(rows: list[Mapping[str, Any]], names: Mapping[str, None]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in names}
