"""Ratings: a table of pictures' files on this machine, each with a person's score of it."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.base.errors import UsageError
from visunex.base.files import sha256_file
from visunex.base.folders import expanded

from ..shards.members import is_image_name

__all__ = ["Ratings", "rated", "read_ratings"]

_PATHS = ("path", "file", "file_name", "filename", "image", "image_path")
_SCORES = ("score", "rating")
_MOST = 1_000_000  # rows
_LONGEST = 1 << 17  # characters of a value

Row = tuple[int, list[str]]  # the number of its line, and its values


@dataclass(frozen=True)
class Ratings:
    """The mean score of each picture's file, in the order in which a table first names them."""

    path: Path
    scores: dict[Path, float]

    def __len__(self) -> int:
        """How many pictures were rated."""
        return len(self.scores)

    def as_dict(self) -> dict[str, Any]:
        """What a provenance says of them."""
        return {"file": str(self.path), "sha256": sha256_file(self.path), "pictures": len(self.scores)}


def rated(path: Path, beside: Sequence[object] = ()) -> Ratings:
    """The ratings in a file; raises UsageError as `read_ratings` does, and for pictures named `beside` it."""
    if beside:
        raise UsageError("--ratings names the pictures itself: leave --images out")
    return read_ratings(path)


def read_ratings(path: Path) -> Ratings:
    """The ratings in a CSV file (.tsv: tab-separated) of paths and scores, with or without a header.

    Paths are relative to the table's folder, or else to the working folder. Of a picture that several people
    rated the scores are averaged. Raises UsageError, naming the line, for what is no table of ratings.
    """
    given: dict[Path, tuple[Path, list[float]]] = {}
    for line, text, score in _pairs(path):
        file = _file(path, line, text)
        given.setdefault(file.resolve(), (file, []))[1].append(score)
    if not given:
        raise UsageError(f"{path} has no ratings: lines such as `flower.jpg,4`")
    return Ratings(path, {file: math.fsum(scores) / len(scores) for file, scores in given.values()})


def _pairs(path: Path) -> Iterator[tuple[int, str, float]]:
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        return
    line, values = first
    at, columns = (0, 1), [value.strip().lower() for value in values]
    if len(values) >= 2 and _number(values[1]) is None:
        at = _column(path, columns, _PATHS), _column(path, columns, _SCORES)
    else:
        yield _pair(path, line, values, at)
    for line, values in rows:
        yield _pair(path, line, values, at)


def _rows(path: Path) -> Iterator[Row]:
    """The rows that are not empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(_LONGEST)  # of the whole process: other readers have limits of their own
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            yield from _bounded(
                path, ((reader.line_num, values) for values in reader if any(map(str.strip, values)))
            )
    except UnicodeDecodeError:
        raise UsageError(
            f"{path} is no text in UTF-8: --ratings takes a CSV file of paths and scores"
        ) from None
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file of paths and scores: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _bounded(path: Path, rows: Iterable[Row]) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        if count > _MOST:
            raise UsageError(f"{path} has more than {_MOST:,} lines: --ratings takes no more")
        yield row


def _column(path: Path, columns: list[str], names: tuple[str, ...]) -> int:
    found = next((columns.index(name) for name in names if name in columns), None)
    if found is None:
        raise UsageError(f"{path} has no column {names[0]}: its first line says {', '.join(columns)}")
    return found


def _pair(path: Path, line: int, values: list[str], at: tuple[int, int]) -> tuple[int, str, float]:
    score = _number(values[at[1]]) if len(values) > max(at) else None
    if score is None or not values[at[0]].strip():
        raise UsageError(f"{path}, line {line}: {','.join(values)[:100]!r} is no path and score")
    return line, values[at[0]].strip(), score


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _file(table: Path, line: int, text: str) -> Path:
    """The picture's file that a line names. Raises UsageError where there is none."""
    named = expanded(text)
    found = next((each for each in (table.parent / named, named) if _is_file(each)), None)
    if found is None or not is_image_name(found.name):
        what = "is not there" if found is None else "is no picture's file"
        raise UsageError(f"{table}, line {line}: {text[:200]} {what}")
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, a NUL in it
        return False
