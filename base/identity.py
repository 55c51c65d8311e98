"""What tells a file's contents from others': by a hash where that is cheap, else by size and times."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .files import sha256_file

__all__ = ["HASHED", "identities"]

HASHED = 1 << 28  # bytes of files that are read to know them; more would cost a user's time at every call
_SECOND = 10**9


def identities(files: Iterable[Path]) -> list[dict[str, Any]]:
    """For each file what changes when its contents do (JSON).

    Files of at most HASHED bytes together are known by their bytes, whatever their times: they may be copied
    or touched. Larger ones are known by size, the time they were written and the time anything of them
    changed, which no tool sets back; by their bytes where the file system keeps whole seconds only, within
    which a file may be written twice. Raises OSError.
    """
    states = [(path, path.stat()) for path in files]
    hashed = sum(state.st_size for _, state in states) <= HASHED
    found = []
    for path, state in states:
        facts: dict[str, Any] = {"size": state.st_size}
        if hashed or not (state.st_mtime_ns % _SECOND or state.st_ctime_ns % _SECOND):
            found.append({**facts, "sha256": sha256_file(path)})
        else:
            found.append({**facts, "mtime_ns": state.st_mtime_ns, "ctime_ns": state.st_ctime_ns})
    return found
