"""CSV and TSV, packed or not, as tables: whole records of a block at a time, in bounded memory."""

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from ...errors import SourceError
from .text import BLOCK, LONGEST_LINE, unpacked

__all__ = ["read", "read_tsv"]


def read(path: Path, separator: str = ",") -> Iterator[pa.Table]:
    """The rows of a file of text, block by block: columns that hold only numbers in a block become numbers.

    A quote that is never closed makes a row that does not end: SourceError, not memory without bound.
    """
    with unpacked(path) as file:
        names = _header(file, path, separator)
    with unpacked(path) as file:
        for number, block in enumerate(_records(file, path)):
            if block.strip():
                yield _with_numbers(_rows(block, names, separator, skip=1 if number == 0 else 0))


def read_tsv(path: Path) -> Iterator[pa.Table]:
    """The same with tabs between the columns."""
    return read(path, "\t")


def _rows(block: bytes, names: list[str], separator: str, skip: int) -> pa.Table:
    """The records of one block, which lies in memory: pyarrow's threads must not read a Python file."""
    import pyarrow.csv as arrow_csv

    return arrow_csv.read_csv(
        pa.BufferReader(block),
        arrow_csv.ReadOptions(column_names=names, skip_rows=skip, block_size=len(block) + 1),
        arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def _records(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Blocks of whole records: each ends at a line end outside quotes."""
    rest, inside = b"", 0  # whether what is left over ends inside quotes
    while block := file.read(BLOCK):
        end = _last_record_end(block, inside)
        if end:
            yield rest + block[:end]
            rest, inside = block[end:], 0
        else:
            rest += block
        inside ^= block.count(b'"', end) & 1
        if len(rest) > LONGEST_LINE:
            raise SourceError(
                f"{path} has a row of more than {LONGEST_LINE >> 20} MiB; perhaps a quote is never closed"
            )
    if inside:
        raise SourceError(f"{path} cannot be read as csv: a quote is never closed")
    if rest:
        yield rest


def _last_record_end(block: bytes, inside: int) -> int:
    """The end of the last line outside quotes, where the block begins `inside` them; 0 for none."""
    data = np.frombuffer(block, np.uint8)
    quotes = np.cumsum(data == ord('"'), dtype=np.uint8)  # wraps around, which keeps what is odd odd
    ends = np.flatnonzero((data == ord("\n")) & (quotes & 1 == inside))
    return int(ends[-1]) + 1 if len(ends) else 0


def _header(file: IO[bytes], path: Path, separator: str) -> list[str]:
    line = file.read(1 << 20).partition(b"\n")[0]
    if not line.strip():
        raise SourceError(f"{path} is empty: its first line should name the columns")
    names = next(csv.reader([line.decode("utf-8-sig")], delimiter=separator))
    if len(set(names)) < len(names):
        raise SourceError(f"{path} names a column twice in its first line")
    return names


def _with_numbers(table: pa.Table) -> pa.Table:
    """Columns of texts that are all whole numbers, or all numbers, as such."""
    for index, name in enumerate(table.column_names):
        for kind in (pa.int64(), pa.float64()):
            with contextlib.suppress(pa.ArrowInvalid):
                table = table.set_column(index, name, table[name].cast(kind))
                break
    return table
