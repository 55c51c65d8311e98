"""Where things lie on this machine: the folder of runs, and the cache of what was fetched."""

import os
from pathlib import Path

from .errors import UsageError, VisunexError

__all__ = ["DEFAULT_RUN", "EMBEDDING", "RUNS", "cache_folder", "expanded"]

RUNS = Path("runs")  # runs by name, in the working folder
DEFAULT_RUN = RUNS / "default"
EMBEDDING = "embedding.pt"  # of a run


def cache_folder(kind: str) -> Path:
    """Where fetched files of a kind are kept: `visunex/KIND` in `$XDG_CACHE_HOME` or `~/.cache`.

    Raises VisunexError where neither is known: a batch system's user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME") or _home() / ".cache"
    return Path(base) / "visunex" / kind


def expanded(path: str | Path) -> Path:
    """`path` with `~` and `~USER` replaced by the home folder. Raises UsageError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{path}: the home folder that ~ stands for is not known; write the path without ~, or set HOME"
        ) from None


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise VisunexError(
            "there is no home folder to keep fetched files in; set HOME, or XDG_CACHE_HOME to a folder"
        ) from None
