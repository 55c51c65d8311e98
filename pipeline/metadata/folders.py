"""Files of a folder or pattern, by the conventions that folders of data follow.

Names that begin with `_` or `.` are hidden (Spark's `_temporary`, a Mac's `._a.parquet` and `__MACOSX`,
`.ipynb_checkpoints`), a folder `score=7` is a column of the files in it (Hive), linked folders are followed.
"""

import glob
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from ..shards.members import is_image_name
from .filetypes import FOLDER_KINDS, FOLDER_SUFFIXES
from .formats.unread import unread_ending

__all__ = [
    "data_in",
    "hive_keys",
    "images_in",
    "is_hidden",
    "matching",
    "most_common_kind",
    "not_read",
    "of_first_kind",
    "passed_over",
]

T = TypeVar("T")

_NULL = "__HIVE_DEFAULT_PARTITION__"
_KEY = re.compile(r"([^=]+)=(.*)")


def is_hidden(path: str) -> bool:
    """Whether a path below a folder is hidden by convention; `_key=1` is a Hive key, so it is not."""
    parts = path.split("/")
    return any(part.startswith(".") or (part.startswith("_") and not _is_key(part)) for part in parts)


def hive_keys(path: str) -> dict[str, str | None]:
    """The columns that the folders on a path are: `{"score": "7"}` of `score=7/a.parquet`."""
    found = (_KEY.fullmatch(part) for part in path.split("/")[:-1])
    pairs = ((match[1], urllib.parse.unquote(match[2])) for match in found if match)
    return {urllib.parse.unquote(name): None if value == _NULL else value for name, value in pairs}


def data_in(folder: Path) -> tuple[list[Path], str]:
    """A folder's metadata, in order: files of the first of FOLDER_KINDS that it has; see `passed_over`.

    Raises OSError.
    """
    files = [path for path in _walk(folder) if not is_hidden(path.relative_to(folder).as_posix())]
    found = sorted(of_first_kind(files, lambda path: path.name))
    return found, passed_over(map(str, files), map(str, found))


def images_in(folder: Path) -> list[Path]:
    """The files of a folder with pictures, in order, without links; none of one without. Raises OSError."""
    shown = (path for path in _walk(folder) if not is_hidden(path.relative_to(folder).as_posix()))
    files = sorted(path for path in shown if not path.is_symlink() and path.is_file())
    return files if any(is_image_name(path.name) for path in files) else []


def passed_over(there: Iterable[str], taken: Iterable[str]) -> str:
    """What of the data among paths is not taken, by the endings of its names: "2 .csv, 1 .orc"; else "".

    A tar or zip beside a file that is taken and named as it is holds the pictures of these rows.
    """
    taken = set(taken)
    stems = {path.rpartition(".")[0] for path in taken}
    counts: Counter[str] = Counter()
    for path in there:
        ending = next(filter(path.lower().endswith, FOLDER_SUFFIXES), None) or unread_ending(path)
        of_a_row = ending in (".tar", ".zip") and path.rpartition(".")[0] in stems
        if ending and path not in taken and not of_a_row:
            counts[ending] += 1
    return ", ".join(f"{count:,} {ending}" for ending, count in sorted(counts.items()))


def of_first_kind(files: Iterable[T], name: Callable[[T], str]) -> list[T]:
    """Those of the files that are of the first of FOLDER_KINDS that any is of, by their names."""
    by_kind = _by_kind(files, name)
    return next((by_kind[suffixes] for suffixes in FOLDER_KINDS if suffixes in by_kind), [])


def most_common_kind(files: Iterable[T], name: Callable[[T], str]) -> list[T]:
    """Those of the files that are of the kind that most are of, the first of FOLDER_KINDS where two are."""
    by_kind = _by_kind(files, name)
    return max((by_kind[suffixes] for suffixes in FOLDER_KINDS if suffixes in by_kind), key=len, default=[])


def _by_kind(files: Iterable[T], name: Callable[[T], str]) -> dict[tuple[str, ...], list[T]]:
    found: dict[tuple[str, ...], list[T]] = {}
    for file in files:
        kind = next((suffixes for suffixes in FOLDER_KINDS if name(file).lower().endswith(suffixes)), None)
        if kind is not None:
            found.setdefault(kind, []).append(file)
    return found


def matching(pattern: str) -> tuple[Path, list[Path], str]:
    """The folder that a pattern begins with, and the files that match it or lie in folders that do, in order.

    What is hidden matches where the pattern names it: `_old/*.parquet`. Of folders see `passed_over`, too.
    """
    root = _root(pattern)
    found = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - absolute too
    shown = [path for path in found if not _is_hidden_from(pattern, path.relative_to(root).as_posix())]
    files = [path for path in shown if path.is_file()]
    if files:
        return root, files, ""
    folders = [data_in(path) for path in shown if path.is_dir()]
    others = ", ".join(filter(None, (also for _, also in folders)))
    return root, sorted({file for inside, _ in folders for file in inside}), others


def not_read(address: str, others: str) -> str:
    """Says to a person what else lies at an address (see `passed_over`)."""
    return (
        f"{address} has files of several kinds, of which one is taken; not read: {others} (a pattern, such "
        "as 'FOLDER/*.csv', names others)"
    )


def _is_key(part: str) -> bool:
    return _KEY.fullmatch(part) is not None


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, linked folders included, each folder once however links run in circles."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(place, name) for name in names)


def _raise(error: OSError) -> None:
    raise error


def _root(pattern: str) -> Path:
    """The folder that a pattern begins with."""
    parts = Path(pattern).parts
    plain = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:plain])


def _is_hidden_from(pattern: str, path: str) -> bool:
    named = [part for part in Path(pattern).parts if part.startswith(("_", "."))]
    parts = (part for part in path.split("/") if not any(fnmatchcase(part, name) for name in named))
    return any(map(is_hidden, parts))
