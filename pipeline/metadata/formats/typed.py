"""Blocks of columns -> one parquet file, each column of one type, which all of its values decide.

Values are written as text first; what a column is, is known when the last of them has been seen. Links and
captions are text whatever they look like; scores and sizes are numbers, and what is no number there becomes
null and is counted; other columns are numbers where text made of these would be the same.
"""

import contextlib
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from visunex.base.files import atomic, full_disk_named

from ..columns import LIST_COMMA
from .records import Block, Blocks, Reading, Tally, Texts

__all__ = ["plain", "write_typed"]

_PARTS = "text"
_NO_NUMBER = r"^[+-]?(0[0-9]|[0-9]{17})"  # a code, not a quantity: as a number it would lose digits


@dataclass
class _Column:
    """What has been seen of a column's values."""

    whole: bool = True
    number: bool = True
    codes: bool = False
    kinds: set[type] = field(default_factory=set)
    no_numbers: int = 0
    examples: list[str] = field(default_factory=list)

    def see(self, text: pl.Series, kinds: Collection[type], *, count: bool, is_text: bool) -> None:
        """Look at further values; only at their types where these alone say that the column `is_text`."""
        self.kinds |= {*kinds}
        if count or (self.number and not is_text):
            text = text.drop_nulls()
            plain = text.str.strip_chars()
            finite = plain.cast(pl.Float64, strict=False).is_finite().fill_null(False)
            bad = plain.filter(~finite)
            self.no_numbers += len(bad)
            self.examples = list(dict.fromkeys([*self.examples, *bad.unique(maintain_order=True).head(3)]))[
                :3
            ]
            self.codes = self.codes or bool(plain.str.contains(_NO_NUMBER).any())
            self.whole = self.whole and {*kinds} != {float} and _are_whole(plain)
            self.number = self.number and not len(bad)


def _are_whole(plain: pl.Series) -> bool:
    same = plain.cast(pl.Int64, strict=False).cast(pl.String) == plain
    return bool(same.fill_null(False).all())


def write_typed(blocks: Blocks, folder: Path, reading: Reading, tally: Tally, *, typed: bool) -> int:
    """Write the blocks to a file in `folder`; the number of rows.

    `typed`: values have types of their own (JSON, SQLite), so that a text of digits is meant as text.
    """
    seen: dict[str, _Column] = {}
    parts = folder / _PARTS
    parts.mkdir(parents=True, exist_ok=True)
    try:
        paths = list(_written(blocks, parts, reading, seen, typed))
        if not paths:
            return 0
        rows = _together(paths).select(_kinds(seen, reading, typed))
        with atomic(folder / "00000.parquet") as temporary:
            rows.sink_parquet(temporary)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    for name, column in seen.items():
        if reading.is_number(name) and column.no_numbers:
            said = ", ".join(example[:20] for example in column.examples)
            tally.remarks.append(
                f"{column.no_numbers:,} values of {name} are no numbers ({said}), read as empty"
            )
    return int(_together([folder / "00000.parquet"]).select(pl.len()).collect().item())


def _together(paths: list[Path]) -> pl.LazyFrame:
    return pl.concat([pl.scan_parquet(path, glob=False) for path in paths], how="diagonal")


def _written(
    blocks: Blocks, folder: Path, reading: Reading, seen: dict[str, _Column], typed: bool
) -> Iterator[Path]:
    for number, block in enumerate(blocks):
        path = folder / f"{number:06d}.parquet"
        with full_disk_named(path):
            _as_text(block, reading, seen, typed).write_parquet(path, compression="lz4", statistics=False)
        yield path


def _as_text(block: Block, reading: Reading, seen: dict[str, _Column], typed: bool) -> pl.DataFrame:
    columns = {}
    for own, values in block.items():
        name = plain(own)
        kinds, text = _text(values)
        is_text = reading.is_text(name) or (typed and str in kinds)
        seen.setdefault(name, _Column()).see(text, kinds, count=reading.is_number(name), is_text=is_text)
        columns[name] = text.alias(name)
    return pl.DataFrame(columns)


def _text(values: Texts | list[Any]) -> tuple[Collection[type], pl.Series]:
    """The types that a column's values have, and the values as text."""
    if isinstance(values, Texts):
        return values.kinds, values.values
    if any(type(value) is list for value in values):
        values = [_joined(value) if type(value) is list else value for value in values]
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {str}:
        with contextlib.suppress(UnicodeError):  # halves of characters, which a text here cannot hold
            return kinds, pl.Series(values, dtype=pl.String)
    if kinds <= {int, float}:
        return kinds, pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    return kinds, pl.Series([None if value is None else _text_of(value) for value in values], dtype=pl.String)


def _joined(values: list[Any]) -> str | list[Any] | None:
    """A list of texts as one, another list as it is."""
    if not all(each is None or isinstance(each, str) for each in values):
        return values
    return LIST_COMMA.join(each for each in values if each and not each.isspace()) or None


def _text_of(value: Any) -> str | None:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if isinstance(value, dict | list) else str(value)


def plain(text: str) -> str:
    """The text, with U+FFFD for halves of characters (lone surrogates, as JSON can hold them)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _kinds(seen: dict[str, _Column], reading: Reading, typed: bool) -> list[pl.Expr]:
    """The columns as what they are; without those that only held lists and objects."""
    kept = {name: column for name, column in seen.items() if not column.kinds or column.kinds - {dict, list}}
    return [_kind(name, column, reading, typed) for name, column in kept.items()]


def _kind(name: str, column: _Column, reading: Reading, typed: bool) -> pl.Expr:
    values, stripped = pl.col(name), pl.col(name).str.strip_chars()
    if reading.is_text(name) or not column.kinds:
        return values
    if reading.is_number(name):
        return stripped.cast(pl.Int64 if column.whole else pl.Float64, strict=False)
    if typed and column.kinds == {bool}:
        return values == "true"
    if (typed and str in column.kinds) or bytes in column.kinds or not column.number:
        return values
    if column.whole:
        return stripped.cast(pl.Int64, strict=False)
    return values if column.codes else stripped.cast(pl.Float64, strict=False)
