"""The candidates of a download: the rows of `selected.parquet`, and what is said of them beforehand."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.errors import first_line

from ..errors import DownloadError, UsageError, parquet_errors
from ..inside.location import LOCATION
from ..metadata.catalog.entries import data_set
from ..metadata.columns import NAMES
from ..metadata.withdrawn import Withdrawn, withdrawn
from ..shards.naming import fitting_shard_size, row_key

if TYPE_CHECKING:
    from visunex.recipes import Download

__all__ = ["Candidates", "load_candidates", "with_hash_of_set"]

# img2dataset makes columns of these names itself (`dhash` is ours).
_RESERVED = {
    "key", "status", "error_message", "exif", "md5", "sha256", "sha512", "dhash",
    "width", "height", "original_width", "original_height",
}  # fmt: skip
_HEX_DIGITS = {"md5": 32, "sha256": 64, "sha512": 128}
_WITHDRAWN = "excluded: withdrawn (--exclude-urls)"


@dataclass(frozen=True)
class Candidates:
    """The rows best first; by rank why some are `excluded`, and the hash that is `expected` of some."""

    table: pa.Table
    shard_size: int
    excluded: dict[int, str]
    expected: dict[int, str]
    hash_type: str
    withdrawn: Withdrawn | None = None

    @property
    def count(self) -> int:
        """How many candidates there are."""
        return self.table.num_rows

    @property
    def shards(self) -> int:
        """How many shards all candidates would fill."""
        return -(-self.count // self.shard_size)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that go into the shards: what img2dataset does not make itself, and JSON can hold."""
        names = [field.name for field in self.table.schema if _fits(field)]
        return tuple(name for name in names if name not in ("url", "caption")) + tuple(
            name for name in ("caption", "url") if name in names
        )

    @cached_property
    def locations(self) -> Sequence[str | None] | None:
        """Where each candidate's picture lies inside a file; None when they come from the web."""
        return self.table[LOCATION].to_pylist() if LOCATION in self.table.column_names else None

    def key(self, rank: int) -> str:
        """The key that img2dataset gives the candidate."""
        return row_key(rank, self.shard_size)

    def ranks(self, shard: int) -> range:
        """The ranks of a shard's rows."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count))

    def write_rows(self, shard: int, path: Path) -> None:
        """Write a shard's rows as the Arrow file that img2dataset's downloader reads."""
        ranks = self.ranks(shard)
        rows = self.table.select(self.columns).slice(ranks.start, len(ranks))
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)

    def of_shard(self, by_rank: dict[int, str], shard: int) -> dict[int, str]:
        """What `by_rank` says of a shard's rows, by their place in it."""
        ranks = self.ranks(shard)
        return {rank - ranks.start: by_rank[rank] for rank in ranks if rank in by_rank}


def _fits(field: pa.Field) -> bool:
    kind = field.type
    plain = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
    )
    return plain and field.name not in _RESERVED


def load_candidates(path: Path, settings: "Download") -> Candidates:
    """Read `selected.parquet`. Raises DownloadError when it is missing or lacks a column; UsageError."""
    table, urls = _read(path)
    listed = withdrawn(urls, Path(settings.exclude_urls)) if settings.exclude_urls else None
    excluded = {} if listed is None else dict.fromkeys(sorted(listed.ranks), _WITHDRAWN)
    column, _, hash_type = (settings.verify_hash or ":sha256").rpartition(":")
    expected = _expected(table, column, hash_type) if column else {}
    shard_size = fitting_shard_size(settings.shard_size, table.num_rows)
    return Candidates(table, shard_size, excluded, expected, hash_type, listed)


def with_hash_of_set(settings: "Download", source: str, selected: Path) -> "Download":
    """The settings, which insist on the hash that the catalogue says a set has of its pictures' files.

    Where they name a hash, or none, that holds.
    """
    named = data_set(source)
    if settings.verify_hash == "none":
        return settings.model_copy(update={"verify_hash": None})
    if settings.verify_hash is not None or named is None or named.hash is None or not selected.exists():
        return settings
    with contextlib.suppress(*parquet_errors()):  # what is wrong with the file is said when it is read
        own = next((name for name in pq.read_schema(selected).names if name.lower() in NAMES["hash"]), None)
        return settings.model_copy(update={"verify_hash": own and f"{own}:{named.hash}"})
    return settings


def _read(path: Path) -> tuple[pa.Table, list[str | None]]:
    """The rows, and the link of each."""
    try:
        table = pq.read_table(path, memory_map=True)
        if "url" in table.column_names:
            return table, table["url"].to_pylist()
    except FileNotFoundError:
        raise DownloadError(
            f"there is no {path}: run `visunex-data filter` first, or choose another --run"
        ) from None
    except parquet_errors() as error:
        raise DownloadError(f"{path} is not a readable parquet file: {first_line(error)}") from None
    raise DownloadError(f"{path} has no column url, only {', '.join(table.column_names)}")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _expected(table: pa.Table, column: str, hash_type: str) -> dict[int, str]:
    if column not in table.column_names:
        raise UsageError(f"--verify-hash: there is no column {column}, only {', '.join(table.column_names)}")
    field = table.schema.field(column)
    if not _is_text(field.type):
        raise UsageError(
            f"--verify-hash: column {column} holds {field.type}, no {hash_type} of a picture's file; "
            f"in LAION's sets `hash` is made from the link and the caption"
        )
    digits = re.compile(rf"[0-9a-f]{{{_HEX_DIGITS[hash_type]}}}")
    expected = {rank: value.lower() for rank, value in enumerate(table[column].to_pylist()) if value}
    wrong = next((value for value in expected.values() if not digits.fullmatch(value)), None)
    if wrong is not None:
        raise UsageError(f"--verify-hash: column {column} holds {wrong[:70]!r}, which is no {hash_type}")
    return expected
