"""Tables with the pictures inside: the column that holds them is never read, only where each row's lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from visunex.net.stream import is_address
from visunex.recipes import Columns

from ..errors import SourceError
from ..inside.location import LOCATION, ROW_DIGITS, below, row_affixes
from ..shards.image_tables import is_image_column_name
from .columns import NAMES, Schema

__all__ = ["FILE_NAME", "ImageColumn", "PathColumn", "image_column", "names_paths", "path_column"]

FILE_NAME = "file_name"  # the column of paths in `metadata.csv` and the like of a folder of pictures
_ROW = "__row_in_file__"
_STORE = "^(s3|hf)://"


@dataclass(frozen=True)
class ImageColumn:
    """The column with the pictures of the rows of the file at `path` (`jpg`, `image.bytes`).

    All that are `dropped` are unread. `link` is the column with their addresses, where there is one.
    """

    path: str
    column: str
    dropped: tuple[str, ...]
    link: str | None

    def schema(self, found: Schema) -> Schema:
        """The columns that remain, a link and a location among them."""
        kept = {name: kind for name, kind in found.items() if name not in self.dropped}
        return {self.link or NAMES["url"][0]: pl.String(), **kept, LOCATION: pl.String()}

    def located(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of the file without the pictures; a row's link, where it has none, is its location."""
        place = self.path if "://" in self.path else str(Path(self.path).absolute())
        before, after = row_affixes(place, self.column)
        number = pl.col(_ROW).cast(pl.String).str.zfill(ROW_DIGITS)
        own = pl.concat_str(pl.lit(before), number, pl.lit(after))
        link = own if self.link is None else pl.coalesce(pl.col(self.link).cast(pl.String), own)
        rows = rows.with_row_index(_ROW).with_columns(
            own.alias(LOCATION), link.alias(self.link or NAMES["url"][0])
        )
        return rows.drop(_ROW, *self.dropped)


@dataclass(frozen=True)
class PathColumn:
    """The `column` with the paths of the rows' pictures, which lie under the `folder` of the metadata.

    `link` is the column with their addresses on the web, where there is one. Where the user `named` the
    column, its paths may also be addresses of S3 or the Hub, wherever that is.
    """

    column: str
    folder: str
    link: str | None
    named: bool

    def schema(self, found: Schema) -> Schema:
        """The columns, a link and a location among them."""
        return {self.link or NAMES["url"][0]: pl.String(), **found, LOCATION: pl.String()}

    def located(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows; a row's link, where it has none, is its location."""
        path = pl.col(self.column)
        place = pl.concat_str(pl.lit(below(self.folder)), pl.when(path.str.len_bytes() > 0).then(path))
        if self.named:
            place = pl.when(path.str.contains(_STORE)).then(path).otherwise(place)
        own = [] if self.link is None else [pl.col(self.link).cast(pl.String)]
        return rows.with_columns(
            place.alias(LOCATION), pl.coalesce(*own, place).alias(self.link or NAMES["url"][0])
        )


def path_column(schema: Schema, overrides: Columns, place: str) -> PathColumn | None:
    """The column with paths of pictures of a table at a path or address; None where it has none.

    It is one of texts that is named as the column with the pictures, else `file_name` (a folder of pictures
    as Hugging Face has it) where there is no link.
    """
    texts = _texts(schema)
    link, wanted = _link(texts, overrides), texts.get((overrides.image or "").lower())
    column = wanted if wanted is not None or link is not None else texts.get(FILE_NAME)
    address = place.partition("?")[0] if is_address(place) else place  # of the web it may have a query
    folder = address.rpartition("/")[0] if "://" in place else str(Path(place).absolute().parent)
    if column is None:
        return None
    return PathColumn(column, folder, None if link == column else link, wanted is not None)


def names_paths(schema: Schema, overrides: Columns) -> bool:
    """Whether the column that is named as the one with the pictures holds texts."""
    return (overrides.image or "").lower() in _texts(schema)


def image_column(schema: Schema, overrides: Columns, where: str) -> ImageColumn | None:
    """The pictures that a table of these columns holds; None where it holds none.

    Raises SourceError where several columns hold pictures and none is named in `overrides`, or that one
    holds none.
    """
    wanted = overrides.image
    found = {name: inner for name, kind in schema.items() if (inner := _bytes_of(name, kind))}
    if wanted is not None:
        found |= {name: name for name, kind in schema.items() if kind == pl.Binary}
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
    binary = [own for own, kind in schema.items() if _bytes_of(own, kind) or kind == pl.Binary]
    return ImageColumn(where, inner, tuple(binary), _link(_texts(schema), overrides))


def _texts(schema: Schema) -> dict[str, str]:
    """The columns of text: lower-case name -> own name."""
    return {own.lower(): own for own in reversed(list(schema)) if schema[own] == pl.String}


def _link(texts: Mapping[str, str], overrides: Columns) -> str | None:
    """The column of text with the pictures' addresses."""
    names = NAMES["url"] if overrides.url is None else (overrides.url.lower(),)
    return next((texts[each] for each in names if each in texts), None)


def _bytes_of(name: str, kind: pl.DataType) -> str | None:
    """Of a column that holds pictures, where in it their bytes are; else None."""
    if kind == pl.Binary and is_image_column_name(name):
        return name
    if isinstance(kind, pl.Struct):
        fields: Mapping[str, object] = {each.name: each.dtype for each in kind.fields}
        by_path = fields.get("bytes") == pl.Null and fields.get("path") == pl.String
        return f"{name}.bytes" if by_path or fields.get("bytes") == pl.Binary else None
    return None


def _having(schema: Schema) -> str:
    having = [name for name, kind in schema.items() if _bytes_of(name, kind)]
    return f"there are {', '.join(having)}" if having else "no column of it holds pictures"
