"""Arrow files, and parquet that polars does not read, as tables: one record batch at a time, each checked."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...inside.location import LOCATION, ROW_DIGITS, row_affixes
from ..columns import NAMES, Schema
from ..inside import ImageColumn, image_column
from .records import Reading, Tally, require_columns

__all__ = ["read", "read_parquet"]

_BINARY = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
_ROWS = 10_000  # of parquet at a time: one repeated value may make them large
_KINDS = {
    pa.string(): pl.String(), pa.large_string(): pl.String(), pa.string_view(): pl.String(),
    pa.binary(): pl.Binary(), pa.large_binary(): pl.Binary(),
}  # fmt: skip


def read(path: Path, reading: Reading, tally: Tally) -> Iterator[pa.Table]:
    """The record batches of an Arrow file, in the file form (Feather) or the stream form.

    Every offset and every text is checked before anything reads them: else a wrong one is read past its end.
    Pictures in rows are not read: of each row there is a `location` that says where its picture lies.
    """
    with pa.memory_map(str(path)) as file:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:  # the stream form, as Hugging Face `datasets` keeps its files
            reader = pa.ipc.open_stream(file)
            batches = iter(reader)
        images = image_column(_schema(reader.schema), reading.columns, str(path))
        for batch in batches:
            for rows in [batch] if images is None else _located(batch, images, reading.place(path), tally):
                yield _checked(rows, reading, tally)


def _schema(schema: pa.Schema) -> Schema:
    """The columns' types as far as pictures are told by them: what is neither text nor bytes is null."""
    return {each.name: _kind(each.type) for each in schema}


def _kind(kind: pa.DataType) -> pl.DataType:
    if pa.types.is_struct(kind):
        return pl.Struct({each.name: _kind(each.type) for each in kind})
    return _KINDS.get(kind, pl.Null())


def _located(
    batch: pa.RecordBatch, images: ImageColumn, place: str, tally: Tally
) -> Iterator[pa.RecordBatch]:
    """The rows of a batch, some at a time, without pictures; each with where its picture lies."""
    link = images.link or NAMES["url"][0]
    kept = [each for each in batch.schema.names if each not in (*images.dropped, LOCATION, link)]
    before, after = row_affixes(place, images.column)
    for begin in range(0, batch.num_rows, _ROWS):
        rows = batch.slice(begin, _ROWS)
        numbers = range(tally.read, tally.read + rows.num_rows)
        places = pa.array(f"{before}{number:0{ROW_DIGITS}d}{after}" for number in numbers)
        links = places
        if images.link is not None:
            said = _text(rows.column(images.link), is_text=True).cast(pa.string())
            links = pc.coalesce(said, places)
        columns = {name: rows.column(name) for name in kept}
        yield pa.record_batch({**columns, link: links, LOCATION: places})


def read_parquet(path: Path, reading: Reading, tally: Tally) -> Iterator[pa.Table]:
    """The record batches of a parquet file."""
    for batch in pq.ParquetFile(path).iter_batches(_ROWS):
        yield _checked(batch, reading, tally)


def _checked(batch: pa.RecordBatch, reading: Reading, tally: Tally) -> pa.Table:
    """The batch as a table, with U+FFFD for bytes of texts that are not UTF-8. Raises ArrowException."""
    require_columns(batch.num_columns)
    batch.validate()
    columns = [
        _text(column, reading.is_text(name))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    table = pa.Table.from_arrays(columns, names=batch.schema.names)
    table.validate(full=True)
    tally.read += batch.num_rows
    return table


def _text(column: pa.Array, is_text: bool) -> pa.Array:
    """The column, as text where it is one or shall be (`is_text`), U+FFFD for what is not UTF-8."""
    binary, kind = _BINARY.get(column.type), column.type
    if binary is None:
        if not (is_text and kind in _BINARY.values()):
            return column
        binary, kind = column.type, pa.large_string()
    elif _is_valid(column):
        return column
    values = column.view(binary)
    values.validate(full=True)  # the offsets: only the bytes may be wrong
    found = (value.as_py() for value in values)
    return pa.array(
        [None if value is None else value.decode("utf-8", errors="replace") for value in found], kind
    )


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
