"""What parquet files say of the sizes of what they hold, which a file of a few bytes can make endless."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from visunex.net.errors import FetchError
from visunex.net.range_file import as_file

from ..errors import SourceError
from ..inside.opened import opened_file
from ..shards.footer import FooterError, LargeFooterError, footer_of, parsed

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["swollen"]

_LEAST, _RATIO = 4 << 30, 200  # a file may hold so many bytes, or so many times as many as it has
_GROUP, _GROUP_RATIO = 512 << 20, 20  # the same of a row group, which polars reads whole
_CATEGORIES = 1 << 20  # bytes of a row group's
_BYTES = {"BYTE_ARRAY": 16, "FIXED_LEN_BYTE_ARRAY": 16, "BOOLEAN": 1, "INT32": 4, "FLOAT": 4}  # of a value


def swollen(paths: Collection[str]) -> list[str]:
    """Those of the parquet files that are not to be read by whole row groups, so little as they take.

    They may lie here or behind addresses. Raises SourceError for one that holds far more than its size
    explains, or says more of itself than metadata needs.
    """
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(_is_swollen, paths)
        return [path for path, is_so in zip(paths, found, strict=True) if is_so]


def _is_swollen(path: str) -> bool:
    try:
        file = as_file(opened_file(path))
        data, size = footer_of(file, path), file.seek(0, 2)
    except LargeFooterError as error:
        raise SourceError(str(error)) from None
    except (FetchError, FooterError, OSError):
        return False  # polars, which reads it next, says what is wrong
    try:
        footer = parsed(data)
        sizes = list(_groups(footer))
        categories = _large_categories(footer)
    except Exception:  # parsers of hostile bytes raise anything
        return False  # the same
    held = sum(full for full, _ in sizes)
    if held > max(_LEAST, _RATIO * size):
        raise SourceError(f"{path} holds far more than its size explains ({held >> 30} GiB): is it metadata?")
    return categories or any(full > max(_GROUP, _GROUP_RATIO * packed) for full, packed in sizes)


def _groups(footer: "pq.FileMetaData") -> Iterator[tuple[int, int]]:
    """Of each row group how many bytes it takes in memory, and in the file."""
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        full = sum(each.total_uncompressed_size + each.num_values * _width(each) for each in columns)
        yield full, sum(each.total_compressed_size for each in columns)


def _large_categories(footer: "pq.FileMetaData") -> bool:
    """Whether a column of categories may have long ones, each of which polars looks at in every row."""
    import pyarrow as pa

    schema = footer.schema.to_arrow_schema()
    if not any(pa.types.is_dictionary(kind) for kind in schema.types):
        return False
    names = {
        name for name, kind in zip(schema.names, schema.types, strict=True) if pa.types.is_dictionary(kind)
    }
    groups = map(footer.row_group, range(footer.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    return any(
        chunk.path_in_schema in names and chunk.total_uncompressed_size - 4 * chunk.num_values > _CATEGORIES
        for chunk in chunks
    )


def _width(column: "pq.ColumnChunkMetaData") -> int:
    return _BYTES.get(column.physical_type, 8)
