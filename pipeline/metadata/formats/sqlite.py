"""A SQLite database of one table with URLs, as tables.

It is a stranger's file: opened read-only, only its tables are asked (no views, no functions that its schema
may call), and nothing in it decides how much memory is used.
"""

import contextlib
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...errors import SourceError

__all__ = ["opened", "read", "table_columns"]

_LONGEST_TEXT = 1 << 20
_BATCH = 50_000


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that nobody vouches for, read-only. Raises SourceError for whatever is wrong with it."""
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            _confine(database)
            yield database
    except (sqlite3.Error, OverflowError) as error:
        raise SourceError(
            f"{path} is no SQLite database that can be read ({error}); fetch it again, or give another copy"
        ) from None


def _confine(database: sqlite3.Connection) -> None:
    database.text_factory = lambda data: data.decode("utf-8", errors="replace")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_TEXT)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in (
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "temp_store = FILE",
        "cache_size = -65536",
    ):
        database.execute(f"PRAGMA {pragma}")


def table_columns(database: sqlite3.Connection) -> dict[str, set[str]]:
    """The columns of every real table: a view of that name could compute anything."""
    names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 1000").fetchall()
    columns = "SELECT name FROM pragma_table_info(?)"
    return {name: {row[0].lower() for row in database.execute(columns, (name,))} for (name,) in names}


def read(path: Path) -> Iterator[pa.Table]:
    """The rows of the one table with a column url. Raises SourceError: there is not one, or it is broken."""
    with opened(path) as database:
        yield from _rows(database, _table_with_urls(path, table_columns(database)))


def _table_with_urls(path: Path, columns: Mapping[str, set[str]]) -> str:
    names = [table for table, own in columns.items() if own]
    found = [table for table in names if columns[table] & {"url", "image_url"}]
    if len(found) != 1:
        raise SourceError(
            f"{path} has not one table with a column url (its tables: {', '.join(sorted(names)) or 'none'}); "
            f"write what you want to CSV: sqlite3 -csv -header {path.name} 'SELECT ...'"
        )
    return found[0]


def _rows(database: Any, table: str) -> Iterator[pa.Table]:
    quoted = '"' + table.replace('"', '""') + '"'
    cursor = database.execute(f"SELECT * FROM {quoted}")  # noqa: S608 - quoted as SQLite wants it
    names = [column[0] for column in cursor.description]
    while batch := cursor.fetchmany(_BATCH):
        columns = zip(*batch, strict=True)
        yield pa.table({name: _values(values) for name, values in zip(names, columns, strict=True)})


def _values(values: tuple[Any, ...]) -> pa.Array:
    """A column of SQLite, which may hold anything in any row."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else _as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
