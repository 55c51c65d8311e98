"""Tables with the pictures inside: the column that holds them is never read, only where each row's lies."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from visunex.recipes import Columns

from ..errors import SourceError
from ..inside.location import LOCATION, ROW_DIGITS, row_affixes
from ..shards.image_tables import is_image_column_name
from .columns import NAMES, Schema

__all__ = ["ImageColumn", "image_column"]

_ROW = "__row_in_file__"


@dataclass(frozen=True)
class ImageColumn:
    """The column with the pictures of a file's rows (`jpg`, `image.bytes`); all that are `dropped` unread.

    `link` is the column with their addresses on the web, where there is one.
    """

    column: str
    dropped: Collection[str]
    link: str | None

    def schema(self, found: Schema) -> Schema:
        """The columns that remain, a link and a location among them."""
        kept = {name: kind for name, kind in found.items() if name not in self.dropped}
        return {self.link or NAMES["url"][0]: pl.String(), **kept, LOCATION: pl.String()}

    def located(self, rows: pl.LazyFrame, path: str) -> pl.LazyFrame:
        """The rows of a file without the pictures; a row's link, where it has none, is its location."""
        before, after = row_affixes(path if "://" in path else str(Path(path).absolute()), self.column)
        number = pl.col(_ROW).cast(pl.String).str.zfill(ROW_DIGITS)
        place = pl.concat_str(pl.lit(before), number, pl.lit(after))
        link = place if self.link is None else pl.coalesce(pl.col(self.link).cast(pl.String), place)
        rows = rows.with_row_index(_ROW).with_columns(
            place.alias(LOCATION), link.alias(self.link or NAMES["url"][0])
        )
        return rows.drop(_ROW, *self.dropped)


def image_column(schema: Schema, overrides: Columns, where: str) -> ImageColumn | None:
    """The pictures that a table of these columns holds; None where it holds none.

    Raises SourceError where several columns hold pictures and none is named in `overrides`, or that one
    holds none.
    """
    wanted = overrides.image
    found = {name: inner for name, kind in schema.items() if (inner := _bytes_of(name, kind))}
    if wanted is not None:
        found = {
            name: inner for name, inner in found.items() if wanted.lower() in (name.lower(), inner.lower())
        }
        if not found:
            raise SourceError(f"{where} has no column {wanted!r} with pictures; {_having(schema)}")
    if not found:
        return None
    if len(found) > 1:
        raise SourceError(
            f"{where} has several pictures in a row: {', '.join(found)}; name one with --image-column"
        )
    (inner,) = found.values()
    links = {own.lower(): own for own in reversed(list(schema)) if schema[own] == pl.String}
    names = NAMES["url"] if overrides.url is None else (overrides.url.lower(),)
    link = next((links[each] for each in names if each in links), None)
    binary = [own for own, kind in schema.items() if _bytes_of(own, kind) or kind == pl.Binary]
    return ImageColumn(inner, tuple(binary), link)


def _bytes_of(name: str, kind: pl.DataType) -> str | None:
    """Of a column that holds pictures, where in it their bytes are; else None."""
    if kind == pl.Binary and is_image_column_name(name):
        return name
    if isinstance(kind, pl.Struct):
        fields: Mapping[str, object] = {each.name: each.dtype for each in kind.fields}
        return f"{name}.bytes" if fields.get("bytes") == pl.Binary else None
    return None


def _having(schema: Schema) -> str:
    having = [name for name, kind in schema.items() if _bytes_of(name, kind)]
    return f"there are {', '.join(having)}" if having else "no column of it holds pictures"
