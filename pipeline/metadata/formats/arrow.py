"""Arrow files, and parquet of unusual make, as tables: one record batch at a time."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["read", "read_parquet"]


def read(path: Path) -> Iterator[pa.Table]:
    """The record batches of an Arrow file, in the file form (Feather) or the stream form."""
    with pa.memory_map(str(path)) as file:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:  # the stream form, as Hugging Face `datasets` keeps its files
            batches = iter(pa.ipc.open_stream(file))
        for batch in batches:
            yield pa.Table.from_batches([batch])


def read_parquet(path: Path) -> Iterator[pa.Table]:
    """The record batches of a parquet file."""
    for batch in pq.ParquetFile(path).iter_batches():
        yield pa.Table.from_batches([batch])
