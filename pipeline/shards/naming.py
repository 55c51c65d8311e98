"""The names of a shard's files and the keys of its rows, as img2dataset has them: `00012.tar`, `000120003`.

The one home of these facts, for every stage; it loads nothing.
"""

from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "ROWS",
    "SHARD_DIGITS",
    "SHARD_FILES",
    "STATS",
    "TAR",
    "fitting_shard_size",
    "key_digits",
    "row_key",
    "shard_name",
    "shard_number",
    "stats_of",
    "tars_marked_done",
]

SHARD_DIGITS = 5  # of a shard's number in file names and keys; img2dataset's `oom_shard_count`
_LEAST_SHARDS = 8  # into which the candidates of a small job are parted
TAR, ROWS, STATS = ".tar", ".parquet", "_stats.json"
SHARD_FILES = (TAR, ROWS, STATS)  # what follows a shard's name; the last, written last, marks it done


def shard_name(shard: int) -> str:
    """The stem of a shard's files: `00012`."""
    return f"{shard:0{SHARD_DIGITS}d}"


def shard_number(name: str) -> int | None:
    """The number that a shard is named by; None for the name of something else."""
    return int(name) if name.isdecimal() else None


def fitting_shard_size(asked: int | None, candidates: int) -> int:
    """The size `asked` for; else one that spreads so many candidates over several shards, at most 1000."""
    if asked is not None:
        return asked
    return max((size for size in (10, 100, 1000) if size * _LEAST_SHARDS <= candidates), default=10)


def key_digits(shard_size: int) -> int:
    """How many digits a key has: those of the shard, and those of a row in it; sizes are powers of ten."""
    return SHARD_DIGITS + len(str(shard_size)) - 1


def row_key(rank: int, shard_size: int) -> str:
    """The key of the row of this rank (from 0 on, over all shards)."""
    return f"{rank:0{key_digits(shard_size)}d}"


def stats_of(tar: Path) -> Path:
    """The statistics beside a shard's tar, which mark it done."""
    return tar.with_name(tar.stem + STATS)


def tars_marked_done(folder: Path) -> Iterator[Path]:
    """Where the tars of shards lie, or lay, whose statistics are in `folder`; in the order of their names."""
    for stats in sorted(folder.glob(f"*{STATS}")):
        yield stats.with_name(stats.name.removesuffix(STATS) + TAR)
