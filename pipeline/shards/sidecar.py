"""What is said of the images in a shard: by its parquet, its `.json` and `.txt` members, the run's table."""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EncodeError, parquet_errors
from .arrow_batches import arrow_batches, arrow_schema, is_arrow
from .footer import opened_parquet
from .members import Member, stored_bytes
from .naming import ROWS, SHARD_DIGITS, shard_number

__all__ = [
    "Row",
    "as_utf8",
    "chosen_count",
    "chosen_shards",
    "count_licenses",
    "counted_licenses",
    "hashes_beside",
    "row_batches",
    "row_in_tar",
    "rows_of",
]

_SCORES = ("score", "aesthetic_score", "aesthetic", "rating")
_CAPTIONS = ("caption", "text", "txt")
_MAX_TEXT = 1024**2  # bytes of a text that are read
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Row:
    """What is said of one image."""

    caption: str | None = None
    url: str | None = None
    score: float | None = None


def count_licenses(table: Path, column: str | None) -> dict[str, int] | None:
    """How many images that a run's table has chosen are under each licence; None where that is not known."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if column is None or not table.exists():
        return None
    try:
        found = pq.read_table(table, columns=[column], filters=pc.field("chosen"))[column].to_pylist()
    except parquet_errors():
        return None
    return counted_licenses(found)


def counted_licenses(values: Iterable[object]) -> dict[str, int]:
    """How often each licence occurs, the commonest first."""
    return dict(Counter("no licence given" if each is None else str(each) for each in values).most_common())


def rows_of(shard: Path, chosen: Path | None, keys: Callable[[], Collection[str]]) -> dict[str, Row] | None:
    """The rows of a shard by key: those chosen in a run's table, else of the parquet beside it, if any.

    Of the parquet beside it, which nobody vouches for, only those of the `keys` that the shard has. Raises
    EncodeError when the run's table cannot be read; a broken parquet beside a shard only costs the captions.
    """
    import pyarrow.parquet as pq

    beside = shard.with_suffix(".parquet")
    if chosen is not None:
        try:
            return _by_key(pq.read_table(chosen, filters=_chosen_in(shard.stem)))
        except parquet_errors() as error:
            raise _unreadable(chosen, error) from None
    try:
        return _rows_beside(beside, keys()) if beside.is_file() else None
    except Exception:  # parsers of hostile bytes raise anything
        return None


def _rows_beside(path: Path, keys: Collection[str]) -> dict[str, Row] | None:
    if "key" not in {name.lower() for name in opened_parquet(path).schema_arrow.names}:
        return None
    rows: dict[str, Row] = {}
    missing = set(keys)
    for batch in row_batches(path, missing):  # which looks at those that are still missing
        rows.update((key, row) for key, row in batch if key is not None)
        missing.difference_update(rows)
        if not missing:
            break
    return rows


def row_batches(path: Path, keys: Collection[str] | None = None) -> Iterator[list[tuple[str | None, Row]]]:
    """What a parquet says of images, some rows at a time, each with its key; of `keys` only, where given.

    However many rows it has, and however long its texts are, little of it is in memory. Raises what pyarrow
    raises.
    """

    in_arrow = is_arrow(path)
    schema = arrow_schema(path) if in_arrow else opened_parquet(path).schema_arrow
    names = {name.lower(): name for name in reversed(schema.names)}
    key, *said = columns = [_first_of(names, each) for each in (("key",), _CAPTIONS, ("url",), _SCORES)]
    read = [name for name in columns if name is not None]
    texts = [name for name in columns[:3] if name is not None and _is_text(schema.field(name).type)]
    if in_arrow:
        batches = _arrow_rows(path, read)
    else:
        file = opened_parquet(path, read_dictionary=texts, buffer_size=2**20, pre_buffer=False)
        batches = file.iter_batches(_ROWS_AT_ONCE, columns=read, use_threads=False)
    for batch in batches:
        yield [
            (_text(_value(batch, key, row)), _row(*(_value(batch, name, row) for name in said)))
            for row in _rows_with(batch, key, keys)
        ]


def _arrow_rows(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Rows of an Arrow file, some at a time, their offsets checked (but not that texts are UTF-8)."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        for batch in arrow_batches(file):
            chosen = {name: _as_bytes(batch.column(name)) for name in columns}
            for values in chosen.values():
                values.validate(full=True)
            empty = {} if columns else {"": pa.nulls(batch.num_rows)}
            rows = pa.record_batch({**chosen, **empty})
            yield from (rows.slice(at, _ROWS_AT_ONCE) for at in range(0, rows.num_rows, _ROWS_AT_ONCE))


def _as_bytes(values: Any) -> Any:
    """Texts as bytes, which need not be UTF-8; other values as they are."""
    import pyarrow as pa

    kinds = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    return values.view(kinds[values.type]) if values.type in kinds else values


def _rows_with(batch: Any, key: str | None, keys: Collection[str] | None) -> Sequence[int]:
    """The rows of a batch whose key is one of `keys`; all, where none are given."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if key is None or keys is None:
        return range(batch.num_rows)
    column, wanted = batch.column(key), pa.array(list(keys), pa.string())
    if pa.types.is_dictionary(column.type):  # each key is looked at once, however often it comes
        found = pc.is_in(column.dictionary.cast(pa.binary()), wanted.cast(pa.binary())).take(column.indices)
    else:
        found = pc.is_in(column.cast(pa.string()), wanted)
    return [int(row) for row in pc.indices_nonzero(found).to_pylist()]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _first_of(names: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    return next((names[each] for each in wanted if each in names), None)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _value(batch: Any, name: str | None, row: int) -> Any:
    """What stands in a cell; a text of it no more than `_MAX_TEXT` characters, whatever bytes it is of."""
    value: Any = None if name is None else batch.column(name)[row]
    if hasattr(value, "value") and hasattr(value, "dictionary"):
        value = value.value
    if value is None or not value.is_valid:
        return None
    if hasattr(value, "as_buffer"):
        return bytes(value.as_buffer()[:_MAX_TEXT]).decode("utf-8", errors="replace")
    return value.as_py()


def chosen_count(table: Path) -> int:
    """How many images a run's table has chosen. Raises EncodeError."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        return pc.sum(pq.read_table(table, columns=["chosen"])["chosen"]).as_py() or 0
    except parquet_errors() as error:
        raise _unreadable(table, error) from None


def chosen_shards(table: Path) -> set[int]:
    """The numbers of the shards that a run's table has chosen images of. Raises EncodeError."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        keys = pq.read_table(table, columns=["key"], filters=pc.field("chosen"))["key"]
        names = pc.unique(pc.utf8_slice_codeunits(keys, 0, SHARD_DIGITS)).to_pylist()
    except parquet_errors() as error:
        raise _unreadable(table, error) from None
    return {number for name in names if (number := shard_number(name)) is not None}


def hashes_beside(shard: Path) -> dict[str, str]:
    """Key -> SHA-256 of the files that a shard of ours was made of; nothing where its parquet has none."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(shard.with_suffix(ROWS), columns=["key", "sha256"])
        pairs = zip(table["key"].to_pylist(), table["sha256"].to_pylist(), strict=True)
    except parquet_errors():
        return {}
    return {str(key): str(digest) for key, digest in pairs if digest}


def _unreadable(table: Path, error: Exception) -> EncodeError:
    return EncodeError(f"{table} cannot be read ({error}); run `visunex-data download` again")


def row_in_tar(path: Path, parts: Mapping[str, Member]) -> Row:
    """What a shard without a parquet says in the image's own `.json` and `.txt`."""
    said: Any = {}
    if "json" in parts:
        try:
            said = json.loads(_small_text(path, parts["json"]))
        except (ValueError, RecursionError):
            said = {}
    said = {str(name).lower(): value for name, value in said.items()} if isinstance(said, dict) else {}
    caption = said.get("caption") or (_small_text(path, parts["txt"]).strip() if "txt" in parts else None)
    score = next((said[name] for name in _SCORES if isinstance(said.get(name), int | float)), None)
    return _row(caption, said.get("url"), score)


def _small_text(path: Path, member: Member) -> str:
    try:
        found = stored_bytes(path, member.offset, member.size, _MAX_TEXT, deflated=member.deflated)
    except (OSError, zlib.error):  # it costs what is said of the image, not the image
        return ""
    return found.decode("utf-8", errors="replace")


def _chosen_in(shard: str) -> Any:
    """The chosen rows of one shard: img2dataset's keys begin with the shard's number."""
    import pyarrow.compute as pc

    after = shard + ":"  # the character after "9"
    return pc.field("chosen") & (pc.field("key") >= shard) & (pc.field("key") < after)


def _by_key(table: Any) -> dict[str, Row] | None:
    names = {name.lower(): name for name in table.column_names}
    if "key" not in names:
        return None
    column = partial(_column, table, names)
    rows = zip(column("key"), column("caption"), column("url"), column(*_SCORES), strict=True)
    return {str(key): _row(caption, url, score) for key, caption, url, score in rows}


def _row(caption: Any, url: Any, score: Any) -> Row:
    number = float(score) if isinstance(score, int | float) else None
    return Row(_text_or_none(caption), _text_or_none(url), number)


def _column(table: Any, names: Mapping[str, str], *wanted: str) -> list[Any]:
    name = next((names[each] for each in wanted if each in names), None)
    return [None] * table.num_rows if name is None else table.column(name).to_pylist()


def as_utf8(name: str) -> str:
    """A name from a file system or a tar as text that UTF-8 can hold."""
    return name.encode("utf-8", errors="replace").decode()


def _text_or_none(value: Any) -> str | None:
    return None if value is None else as_utf8(str(value))
