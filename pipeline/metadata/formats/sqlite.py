"""A SQLite database with one table of links, as blocks of columns.

It is a stranger's file: opened read-only, without functions that its schema may call, and nothing in it
decides how much memory or time is used. What lies in its write-ahead log only is read too.
"""

import contextlib
import shutil
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import SourceError
from .records import BLOCK_VALUES, Blocks, Reading, Tally, require_columns

__all__ = ["opened", "read", "table_columns"]

_LONGEST_TEXT = 1 << 20
_LONGEST_BLOB = 1 << 16  # a picture's bytes, say, are no metadata
_BLOCK = 16 << 20  # bytes of texts looked at together
_LEAST_STEPS, _STEPS_PER_BYTE = 200_000_000, 200  # of SQLite's machine, for a file of so many bytes
_LEAST_BYTES, _BYTES_PER_BYTE = 1 << 30, 20  # that may come of it
_STEPS = 100_000  # between two looks
_LOGS = ("-wal", "-journal")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that nobody vouches for, read-only. Raises SourceError for whatever is wrong with it."""
    try:
        with _with_its_log(path) as (file, options):
            address = f"file:{urllib.parse.quote(str(file.absolute()))}?{options}"
            with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
                _confine(database, path.stat().st_size)
                yield database
    except (sqlite3.Error, OverflowError, OSError) as error:
        said = "it takes far more time than its size explains" if "interrupted" in str(error) else str(error)
        raise SourceError(
            f"{path} is no SQLite database that can be read ({said}); fetch it again, or give another copy"
        ) from None


@contextlib.contextmanager
def _with_its_log(path: Path) -> Iterator[tuple[Path, str]]:
    """The file to open, and how: one with a log beside it as a copy, since reading a log writes files."""
    logs = [log for end in _LOGS if (log := path.with_name(path.name + end)).is_file() and log.stat().st_size]
    if not logs:
        yield path, "mode=ro&immutable=1"
        return
    with tempfile.TemporaryDirectory(prefix="visunex-") as folder:
        for file in (path, *logs):
            shutil.copyfile(file, Path(folder) / file.name)
        yield Path(folder) / path.name, "mode=rw"


def _confine(database: sqlite3.Connection, size: int) -> None:
    database.text_factory = lambda data: data.decode("utf-8", errors="replace")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_TEXT)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in (
        "trusted_schema = OFF",
        "query_only = ON",
        "cell_size_check = ON",
        "temp_store = FILE",
        "cache_size = -65536",
    ):
        database.execute(f"PRAGMA {pragma}")
    looks = iter(range(max(_LEAST_STEPS, _STEPS_PER_BYTE * size) // _STEPS))
    database.set_progress_handler(lambda: next(looks, None) is None, _STEPS)


def table_columns(database: sqlite3.Connection, kind: str = "table") -> dict[str, set[str]]:
    """The columns, in lower case, of every real table (or every `view`)."""
    names = database.execute("SELECT name FROM sqlite_master WHERE type = ? LIMIT 1000", (kind,)).fetchall()
    columns = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1"
    return {name: {row[0].lower() for row in database.execute(columns, (name,))} for (name,) in names}


def read(path: Path, reading: Reading, tally: Tally) -> Blocks:
    """The rows of the one table, else the one view, with a column of links. Raises SourceError."""
    with opened(path) as database:
        table = _table_with_links(path, database, reading)
        room = max(_LEAST_BYTES, _BYTES_PER_BYTE * path.stat().st_size)
        yield from _blocks(database, table, room, tally)


def _table_with_links(path: Path, database: sqlite3.Connection, reading: Reading) -> str:
    tables, views = table_columns(database), _views(database)
    links = set(reading.links())
    for columns in (tables, views):
        found = [name for name, own in columns.items() if own & links]
        if len(found) == 1:
            return found[0]
        if found:
            break
    names = ", ".join(sorted(name for name, own in {**tables, **views}.items() if own)) or "none"
    raise SourceError(
        f"{path} has not one table with a column url (its tables and views: {names}); name the column of "
        f"links (--url-column, source.columns.url), or write what you want to CSV: "
        f"sqlite3 -csv -header {path.name} 'SELECT ...' > links.csv"
    )


def _views(database: sqlite3.Connection) -> Mapping[str, set[str]]:
    try:
        return table_columns(database, "view")
    except sqlite3.Error:  # a view of what is not there
        return {}


def _blocks(database: Any, table: str, room: int, tally: Tally) -> Blocks:
    cursor = database.execute(f"SELECT * FROM {_quoted(table)} LIMIT 0")  # noqa: S608 - quoted as SQLite wants
    names = list(dict.fromkeys(column[0] for column in cursor.description))
    require_columns(len(names))
    values = ", ".join(map(_small, names))
    rows: list[tuple[Any, ...]] = []
    size = 0
    for row in database.execute(f"SELECT {values} FROM {_quoted(table)}"):  # noqa: S608 - the same
        rows.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if size > _BLOCK or len(rows) * len(names) > BLOCK_VALUES:
            room -= size
            if room < 0:
                raise SourceError("it holds far more than its size explains")
            yield _columns(names, rows, tally)
            rows, size = [], 0
    if rows:
        yield _columns(names, rows, tally)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _small(name: str) -> str:
    """A column without large blobs, which are never loaded."""
    own = _quoted(name)
    return f"CASE WHEN typeof({own}) = 'blob' AND length({own}) > {_LONGEST_BLOB} THEN NULL ELSE {own} END"


def _columns(names: list[str], rows: list[tuple[Any, ...]], tally: Tally) -> dict[str, list[Any]]:
    tally.read += len(rows)
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
