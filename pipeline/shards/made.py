"""Whether a shard is made, and still is what it was when it was made.

What its files were is a key of the shard's `_stats.json`. Shards of img2dataset, and of the first release,
say nothing of it: then the tar's members are compared with the rows beside it.
"""

import functools
import json
from pathlib import Path
from typing import Any

from visunex.base.files import is_unchanged, state_of, write_text

from ..errors import parquet_errors
from .discard import is_discarded
from .members import LeftOut, images_among
from .naming import ROWS, STATS, TAR, shard_name
from .tar import members

__all__ = ["is_made", "note_files"]

_KEY = "files"


def is_made(shards: Path, shard: int) -> bool:
    """Whether a shard is finished and whole: what its `_stats.json` says of its files holds.

    A tar may have been discarded.
    """
    name = shard_name(shard)
    tar, rows = shards / f"{name}{TAR}", shards / f"{name}{ROWS}"
    try:
        stats = json.loads((shards / f"{name}{STATS}").read_text(encoding="utf-8"))
        if not isinstance(stats, dict):
            return False
        if not tar.exists():
            return is_discarded(tar) and rows.exists()
        noted = stats.get(_KEY)
        if isinstance(noted, dict):
            return all(is_unchanged(each, noted.get(each.name)) for each in (tar, rows))
        return _has_its_rows(tar, rows, tar.stat().st_mtime_ns, rows.stat().st_mtime_ns)
    except (OSError, ValueError, RecursionError):
        return False


def note_files(stats: Path, tar: Path, rows: Path) -> None:
    """Note in a shard's statistics what its files are, once they are at their places."""
    found: dict[str, Any] = json.loads(stats.read_text(encoding="utf-8"))
    write_text(stats, json.dumps({**found, _KEY: {each.name: state_of(each) for each in (tar, rows)}}))


@functools.lru_cache(maxsize=4096)
def _has_its_rows(tar: Path, rows: Path, *_times: int) -> bool:
    """Whether a tar is whole, and has a picture for each row that says so."""
    import pyarrow.parquet as pq

    left_out = LeftOut()
    there = {each.key for each in images_among(members(tar, left_out), LeftOut())}
    if left_out.damaged:
        return False
    try:
        if not {"key", "status"} <= {*pq.read_schema(rows).names}:
            return True
        table = pq.read_table(rows, columns=["key", "status"])
    except parquet_errors():
        return False
    said = zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True)
    return {str(key) for key, status in said if status == "success"} <= there
