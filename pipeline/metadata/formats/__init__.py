"""Readers of the kinds of file, other than parquet, that metadata is published in: a module for each kind.

Each module's `read(path)` gives a file's rows as pyarrow tables, block by block: memory stays bounded however
large the file is. `to_parquet` writes these as parquet files, which the filter reads like any others.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .reader_process import convert_file as convert_file
    from .reader_process import convert_to as convert_to

__all__ = ["convert_file", "convert_to"]

__getattr__, __dir__ = public(__name__, {"convert_file": "reader_process", "convert_to": "reader_process"})
