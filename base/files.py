"""Files that are either whole or absent: written to a temporary name beside their place, then renamed."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# One fixed suffix: a killed process leaves at most this name behind, which the next run overwrites or sweeps.
TEMPORARY_SUFFIX = ".visunex-tmp"

HASHED = 1 << 28  # bytes of files that are read to know them; more would cost a user's time at every call
_SECOND = 10**9  # ns
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as libraries in Rust write it


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `path`, on failure it is removed.

    The file is on disk before it takes its name, so a name that exists always holds all of its bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        with full_disk_named(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Within it, what any library says of a disk that is full is an OSError with this path."""
    try:
        yield
    except Exception as error:
        found = _OS_ERROR.search(str(error))
        number = getattr(error, "errno", None) or (int(found[1]) if found else None)
        if number not in FULL:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8; half a surrogate pair, which that has not, is escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as indented JSON that a person can read."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sweep_temporary(folder: Path) -> None:
    """Remove what killed processes left unfinished under `folder`; call it only while holding its lock."""
    for leftover in folder.rglob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of the order of its keys, as lower-case hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


def identities(files: Iterable[Path]) -> list[dict[str, Any]]:
    """For each file what changes when its contents do (JSON).

    Files of at most HASHED bytes together are known by their bytes, whatever their times: they may be copied
    or touched. Larger ones are known by size, the time they were written and the time anything of them
    changed, which no tool sets back; by their bytes where the file system keeps whole seconds only, within
    which a file may be written twice. Raises OSError.
    """
    times = [(path, _times(path)) for path in files]
    hashed = sum(each["size"] for _, each in times) <= HASHED
    return [
        {"size": each["size"], "sha256": sha256_file(path)}
        if hashed or not _are_fine(*each.values())
        else each
        for path, each in times
    ]


def state_of(path: Path) -> dict[str, Any]:
    """What tells later, by `is_unchanged`, whether a file of ours has changed (JSON). Raises OSError."""
    return {**_times(path), "sha256": sha256_file(path)}


def is_unchanged(path: Path, before: Any) -> bool:
    """Whether a file's contents are those of `before`, by times if they are as they were, else by its bytes.

    So it may be copied or touched. Raises OSError.
    """
    now = _times(path)
    if not isinstance(before, dict) or before.get("size") != now["size"]:
        return False
    if _are_fine(*now.values()) and now.items() <= before.items():
        return True
    return before.get("sha256") == _sha256_then(path, *now.values())


def _times(path: Path) -> dict[str, int]:
    state = path.stat()
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "ctime_ns": state.st_ctime_ns}


def _are_fine(_size: int, written: int, changed: int) -> bool:
    """Whether a file system keeps times finer than the second, within which a file may be written twice."""
    return bool(written % _SECOND or changed % _SECOND)


@functools.lru_cache(maxsize=4096)  # one command looks at a file several times
def _sha256_then(path: Path, *_times: int) -> str:
    return sha256_file(path)
