"""Arrow files, and parquet that polars does not read, as tables: one record batch at a time, each checked."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...errors import SourceError
from ...inside.location import LOCATION, ROW_DIGITS, row_affixes
from ..columns import NAMES, Schema
from ..footers import FEATURES
from ..inside import ImageColumn, image_column, names_paths
from .records import Reading, Tally, require_columns

__all__ = ["read", "read_parquet"]

_BINARY = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
_KINDS = {
    pa.string(): pl.String(), pa.large_string(): pl.String(), pa.string_view(): pl.String(),
    pa.binary(): pl.Binary(), pa.large_binary(): pl.Binary(),
}  # fmt: skip
_OF_BYTES = pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary
_LEAST_BYTES, _BYTES_PER_BYTE = 2 << 30, 200  # that a file may hold
_LONGEST = 1 << 20  # bytes of a text or a blob; what is longer is no metadata
_ROWS, _BATCH = 10_000, 64 << 20  # of parquet at a time: so many rows, or bytes


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
        images = _images(reader.schema, path, reading, tally)
        shown = _without_images(batches, images, path, reading, tally)
        yield from _metadata_in(shown, reader.schema, path, reading, tally)


def _images(schema: pa.Schema, path: Path, reading: Reading, tally: Tally) -> ImageColumn | None:
    """The pictures that a file's rows hold. Raises SourceError."""
    columns = _schema(schema)
    by_path = names_paths(columns, reading.columns)
    images = None if by_path else image_column(columns, reading.columns, str(path))
    tally.located = images is not None
    return images


def _without_images(
    batches: Iterable[pa.RecordBatch], images: ImageColumn | None, path: Path, reading: Reading, tally: Tally
) -> Iterable[pa.RecordBatch]:
    if images is None:
        return batches
    place = reading.place(path)
    return chain.from_iterable(_located(batch, images, place, tally) for batch in batches)


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
    """The record batches of a parquet file, whose pictures are not read as those of an Arrow file are not."""
    file = pq.ParquetFile(path)
    images = _images(file.schema_arrow, path, reading, tally)
    names = [each for each in file.schema_arrow.names if images is None or each not in images.dropped]
    groups = map(file.metadata.row_group, range(file.num_row_groups))
    heaviest = max((_bytes_of(group, names) // max(group.num_rows, 1) for group in groups), default=0)
    batches = file.iter_batches(max(1, min(_ROWS, _BATCH // max(heaviest, 1))), columns=names)
    shown = _without_images(batches, images, path, reading, tally)
    yield from _metadata_in(shown, file.schema_arrow, path, reading, tally)


def _bytes_of(group: pq.RowGroupMetaData, names: Collection[str]) -> int:
    """The bytes of some columns of a row group, unpacked."""
    columns = map(group.column, range(group.num_columns))
    return sum(each.total_uncompressed_size for each in columns if each.path_in_schema.split(".")[0] in names)


def _metadata_in(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, reading: Reading, tally: Tally
) -> Iterator[pa.Table]:
    """The batches of a file, checked, with what its schema says of labels. Raises as `_checked` does."""
    cut: Counter[str] = Counter()
    features = (schema.metadata or {}).get(FEATURES)
    if features is not None and len(features) > _LONGEST:
        tally.remarks.append(f"what it says of class labels is longer than {_LONGEST >> 20} MiB: not read")
        features = None
    said = None if features is None else {FEATURES: features}
    room = max(_LEAST_BYTES, _BYTES_PER_BYTE * path.stat().st_size)
    for batch in batches:
        room -= batch.nbytes
        if room < 0:
            raise SourceError("it holds far more than its size explains: is it metadata?")
        yield _checked(_without_long_values(batch, cut), reading, tally).replace_schema_metadata(said)
    tally.remarks += [
        f"{count:,} values of {name} are longer than {_LONGEST >> 20} MiB, read as empty"
        for name, count in cut.items()
    ]


def _without_long_values(batch: pa.RecordBatch, cut: Counter[str]) -> pa.RecordBatch:
    """The batch, null for texts and blobs that are too long for metadata, which are counted."""
    require_columns(batch.num_columns)
    batch.validate()
    columns = list(batch.columns)
    for place, values in enumerate(columns):
        columns[place], count = _cut(values)
        cut.update({batch.schema.names[place]: count} if count else {})
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _cut(values: pa.Array) -> tuple[pa.Array, int]:
    """The values, null where longer than _LONGEST, and how many these are."""
    if pa.types.is_dictionary(values.type):
        values.validate(full=True)
        own, count = _cut(values.dictionary)
        if not count:
            return values, 0
        kept = pc.if_else(
            own.is_valid().take(values.indices), values.indices, pa.scalar(None, values.indices.type)
        )
        shown = pc.fill_null(own, pa.scalar(b"", pa.binary()).cast(own.type))  # nulls there cannot be written
        return pa.DictionaryArray.from_arrays(kept, shown), kept.null_count - values.null_count
    if not any(check(values.type) for check in _OF_BYTES):
        return values, 0
    is_long = pc.fill_null(pc.greater(pc.binary_length(values), _LONGEST), False)
    count = is_long.true_count
    return (pc.if_else(is_long, pa.scalar(None, values.type), values) if count else values), count


def _checked(batch: pa.RecordBatch, reading: Reading, tally: Tally) -> pa.Table:
    """The batch as a table, with U+FFFD for bytes of texts that are not UTF-8. Raises ArrowException."""
    columns = [
        _text(column, reading.is_text(name))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    table = pa.Table.from_arrays(columns, names=batch.schema.names)
    tally.read += batch.num_rows
    return table


def _text(column: pa.Array, is_text: bool) -> pa.Array:
    """The column, as text where it is one or shall be (`is_text`), U+FFFD for what is not UTF-8."""
    binary, kind = _BINARY.get(column.type), column.type
    if binary is None:
        if not (is_text and kind in _BINARY.values()):
            column.validate(full=True)
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
