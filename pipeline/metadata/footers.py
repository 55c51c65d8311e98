"""What parquet files say of what they hold: their sizes, which may be endless, and class labels."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from visunex.net.errors import FetchError
from visunex.net.range_file import as_file

from ..errors import SourceError
from ..inside.opened import opened_file
from ..shards.footer import FooterError, LargeFooterError, footer_of, parsed
from .columns import NAMES, NUMBERS, Schema, label_names
from .made import ClassLabels

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["FEATURES", "File", "labelled", "remarks_on_labels", "swollen"]

FEATURES = b"huggingface"  # the key of a schema under which `datasets` describes columns
NO_FEATURES: Mapping[str, Any] = {}
_SCALES = frozenset(
    name for role in NUMBERS for name in NAMES[role]
)  # a score may well have labels: it ranks

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


@dataclass(frozen=True)
class File:
    """A file, the types of its columns, and which of these are class labels.

    `refused` are columns that say so and are not, with what is wrong; `nameless` how many of a column's
    numbers have no name.
    """

    path: str
    schema: Schema
    labels: ClassLabels | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    nameless: Mapping[str, int] = field(default_factory=dict)


def labelled(
    path: str, schema: Schema, rows: Callable[[], pl.LazyFrame], features: Mapping[str, Any] = NO_FEATURES
) -> File:
    """A parquet file with its class labels, by what `datasets` wrote at its end, and of which `rows` are.

    `features` describe the columns of which that says nothing.
    """
    numbers = [name for name, kind in schema.items() if _are_whole(kind) and name.lower() not in _SCALES]
    footer = _footer(path) if numbers else None
    own = {} if footer is None else _features((footer.metadata or {}).get(FEATURES, b""))
    described = ((name, label_names(own.get(name, features.get(name)))) for name in numbers)
    said = {name: found for name, found in described if found is not None}
    refused = {name: found for name, found in said.items() if isinstance(found, str)}
    names = tuple((name, found) for name, found in said.items() if isinstance(found, tuple))
    if not names:
        return File(path, schema, refused=refused)
    labels = ClassLabels(names)
    doubtful = [name for name, found in names if not _all_within(footer, name, len(found))]
    return File(path, labels.schema(schema), labels, refused, _nameless(labels, rows, doubtful))


def _nameless(labels: ClassLabels, rows: Callable[[], pl.LazyFrame], names: Iterable[str]) -> dict[str, int]:
    """How many numbers of columns have no name; nothing where they cannot be read, which is said later."""
    try:
        counts = {name: labels.nameless(rows(), name).select(pl.len()) for name in names}
        return {name: int(each.collect(engine="streaming").item()) for name, each in counts.items()}
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return {}


def remarks_on_labels(files: Iterable[File]) -> list[str]:
    """What a person should know of the class labels of files."""
    refused: dict[str, str] = {}
    nameless = Counter[str]()
    for each in files:
        refused |= each.refused
        nameless.update(each.nameless)
    said = [
        f"{name} says it has class labels, but {what}: its numbers stay" for name, what in refused.items()
    ]
    counts = nameless.items()
    return said + [
        f"{count:,} values of {name} are no class label, read as empty" for name, count in counts if count
    ]


def _are_whole(kind: pl.DataType) -> bool:
    """Whether values are whole numbers, or lists of these."""
    inner = kind.inner if isinstance(kind, pl.List | pl.Array) else kind
    return inner.is_integer()


def _footer(path: str) -> "pq.FileMetaData | None":
    """What a file says at its end; None where that cannot be read, which is said by what reads its rows."""
    try:
        file = as_file(opened_file(path))
        return parsed(footer_of(file, path))
    except Exception:  # parsers of hostile bytes raise anything
        return None


def _features(said: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(said)["info"]["features"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _all_within(footer: "pq.FileMetaData | None", name: str, count: int) -> bool:
    """Whether a file says of each piece of a column that its numbers are below a count, and none negative."""
    if footer is None:
        return False
    groups = map(footer.row_group, range(footer.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    bounds = (each.statistics for each in chunks if each.path_in_schema.split(".")[0] == name)
    try:
        return all(
            each is not None and each.has_min_max and each.min >= 0 and each.max < count for each in bounds
        )
    except Exception:  # parsers of hostile bytes raise anything
        return False


def _width(column: "pq.ColumnChunkMetaData") -> int:
    return _BYTES.get(column.physical_type, 8)
