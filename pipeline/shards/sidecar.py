"""What is said of the images in a shard: by its parquet, its `.json` and `.txt` members, the run's table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EncodeError
from .tar import Member

__all__ = ["Row", "as_utf8", "chosen_count", "row_in_tar", "rows_of"]

_SCORES = ("score", "aesthetic_score", "aesthetic", "rating")
_MAX_TEXT = 1024**2  # bytes of a `.json` or `.txt` that are read


@dataclass(frozen=True)
class Row:
    """What is said of one image."""

    caption: str | None = None
    url: str | None = None
    score: float | None = None


def rows_of(shard: Path, chosen: Path | None) -> dict[str, Row] | None:
    """The rows of a shard by key: those chosen in a run's table, else all of the parquet beside it, if any.

    Raises EncodeError when the run's table cannot be read; a broken parquet beside a shard only costs the
    captions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    beside = shard.with_suffix(".parquet")
    try:
        if chosen is not None:
            return _by_key(pq.read_table(chosen, filters=_chosen_in(shard.stem)))
        return _by_key(pq.read_table(beside)) if beside.exists() else None
    except (pa.ArrowException, OSError) as error:
        if chosen is not None:
            raise _unreadable(chosen, error) from None
        return None


def chosen_count(table: Path) -> int:
    """How many images a run's table has chosen. Raises EncodeError."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        return pc.sum(pq.read_table(table, columns=["chosen"])["chosen"]).as_py() or 0
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(table, error) from None


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
    with path.open("rb") as file:
        file.seek(member.offset)
        return file.read(min(member.size, _MAX_TEXT)).decode("utf-8", errors="replace")


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
