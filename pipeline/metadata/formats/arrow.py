"""Arrow files, and parquet that polars does not read, as tables: one record batch at a time, each checked."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .records import Reading, Tally, require_columns

__all__ = ["read", "read_parquet"]

_ROWS = 10_000  # of parquet at a time: one repeated value may make them large


def read(path: Path, reading: Reading, tally: Tally) -> Iterator[pa.Table]:
    """The record batches of an Arrow file, in the file form (Feather) or the stream form.

    Every offset and every text is checked before anything reads them: else a wrong one is read past its end.
    """
    with pa.memory_map(str(path)) as file:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:  # the stream form, as Hugging Face `datasets` keeps its files
            batches = iter(pa.ipc.open_stream(file))
        for batch in batches:
            yield _checked(batch, tally)


def read_parquet(path: Path, reading: Reading, tally: Tally) -> Iterator[pa.Table]:
    """The record batches of a parquet file."""
    for batch in pq.ParquetFile(path).iter_batches(_ROWS):
        yield _checked(batch, tally)


def _checked(batch: pa.RecordBatch, tally: Tally) -> pa.Table:
    """The batch as a table; texts with bytes that are not UTF-8 get U+FFFD for these. Raises ArrowException."""
    require_columns(batch.num_columns)
    batch.validate()
    columns = [_text(column) if _is_text(column.type) else column for column in batch.columns]
    table = pa.Table.from_arrays(columns, names=batch.schema.names)
    table.validate(full=True)
    tally.read += batch.num_rows
    return table


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _text(column: pa.Array) -> pa.Array:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        binary = column.view(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary())
        binary.validate(full=True)  # the offsets: only the bytes may be wrong
        values = (value.as_py() for value in binary)
        texts = [None if value is None else value.decode("utf-8", errors="replace") for value in values]
        return pa.array(texts, column.type)
    return column
