"""What the metadata of a folder of vectors says of each, as texts, block by block: there may be billions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import EncodeError, parquet_errors
from ..shards.footer import opened_parquet
from ..vectors.remote_store import as_texts
from ..vectors.store import Part, VectorFolder

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Rows", "rows_of"]

_COLUMNS = ("key", "image_path", "url", "caption")  # columns of the metadata that are kept beside the scores
_BLOCK = 1 << 17  # rows that are in memory at a time


@dataclass(frozen=True)
class Rows:
    """The rows of a folder's metadata, to be iterated any number of times in tables of the same columns.

    Null where there is no text, or none that is UTF-8; a column is left out where no part has any of it, and
    there are no tables where there are no columns. Raises EncodeError for metadata that cannot be read.
    """

    folder: VectorFolder

    def __iter__(self) -> "Iterator[pa.Table]":
        names = [name for name in _COLUMNS if any(_has(part, name) for part in self.folder.parts)]
        for part in self.folder.parts if names else ():
            try:
                yield from _blocks(part, names)
            except parquet_errors() as error:
                raise EncodeError(f"{part.metadata} cannot be read ({error}); make it again") from None


def rows_of(folder: VectorFolder) -> "pa.Table":
    """All of them at once; a table without columns where nothing is said of any."""
    import pyarrow as pa

    tables = list(Rows(folder))
    return pa.concat_tables(tables) if tables else pa.table({})


def _has(part: Part, name: str) -> bool:
    """Whether a column of a part's metadata may have texts, by what the file says of itself."""
    import pyarrow as pa

    if part.metadata is None:
        return False
    try:
        file = opened_parquet(part.metadata)
    except parquet_errors() as error:
        raise EncodeError(f"{part.metadata} cannot be read ({error}); make it again") from None
    if name not in file.schema_arrow.names or pa.types.is_null(file.schema_arrow.field(name).type):
        return False
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    chunks = (group.column(at) for group in groups for at in range(group.num_columns))
    return any(_has_values(chunk) for chunk in chunks if chunk.path_in_schema == name)


def _has_values(chunk: "pq.ColumnChunkMetaData") -> bool:
    said = chunk.statistics
    return said is None or not said.has_null_count or said.null_count < chunk.num_values


def _blocks(part: Part, names: list[str]) -> "Iterator[pa.Table]":
    """The rows of a part, without those that are left out."""
    import pyarrow as pa

    kept, begin = np.ones(part.rows, np.bool_), 0
    kept[list(part.skipped)] = False
    for length, texts in _texts(part, names):
        mine, begin = pa.array(kept[begin : begin + length]), begin + length
        nothing = pa.nulls(length, pa.large_string())
        yield pa.table({name: texts.get(name, nothing).filter(mine) for name in names})


def _texts(part: Part, names: list[str]) -> "Iterator[tuple[int, dict[str, pa.Array]]]":
    """Blocks of a part's rows: how many, and the texts of those columns that its metadata has."""
    file = None if part.metadata is None else opened_parquet(part.metadata)
    own = [] if file is None else [name for name in names if name in file.schema_arrow.names]
    if file is None or not own:
        yield from ((min(_BLOCK, part.rows - begin), {}) for begin in range(0, part.rows, _BLOCK))
        return
    for batch in file.iter_batches(_BLOCK, columns=own):
        yield batch.num_rows, {name: _as_text(batch[name]) for name in own}


def _as_text(column: "pa.Array") -> "pa.Array":
    import polars as pl

    try:
        texts = as_texts(column)
    except pl.exceptions.PolarsError:  # lists and the like are no texts
        texts = pl.repeat(None, len(column), dtype=pl.String, eager=True)
    return texts.to_arrow(compat_level=pl.CompatLevel.oldest())
