"""Where things lie on this machine: the folder of runs, and the cache of what was fetched."""

import os
from pathlib import Path

__all__ = ["DEFAULT_RUN", "EMBEDDING", "RUNS", "cache_folder"]

RUNS = Path("runs")  # runs by name, in the working folder
DEFAULT_RUN = RUNS / "default"
EMBEDDING = "embedding.pt"  # of a run


def cache_folder(kind: str) -> Path:
    """Where fetched files of a kind are kept: `visunex/KIND` in `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "visunex" / kind
