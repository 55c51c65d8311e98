"""Columns that are made: of others (`https://host/{id}.jpg`), captions of several, the names of labels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from visunex.recipes import Columns

from ..errors import SourceError
from .columns import LIST_COMMA, NAMES, Schema, is_texts, joined_texts, listed

__all__ = ["ClassLabels", "MadeColumns", "joined_caption", "made_columns"]

_LABELS = ("label", "labels")  # columns of text that say what is seen, where there is no caption

_PART = re.compile(r"\{([^{}:]*)(?::0(\d{1,2}))?\}")


@dataclass(frozen=True)
class MadeColumns:
    """The columns to make, by name, and what columns that have such a name already are called instead."""

    columns: Mapping[str, pl.Expr]
    moved: Mapping[str, str]

    def schema(self, found: Schema) -> Schema:
        """The columns with those made."""
        kept = {self.moved.get(name, name): kind for name, kind in found.items()}
        return {**kept, **dict.fromkeys(self.columns, pl.String())}

    def located(self, part: pl.LazyFrame) -> pl.LazyFrame:
        """The rows with the columns made."""
        moved = [pl.col(name).alias(other) for name, other in self.moved.items()]
        made = part.with_columns(*moved, *(each.alias(name) for name, each in self.columns.items()))
        return made.drop(*(name for name in self.moved if name not in self.columns))


@dataclass(frozen=True)
class ClassLabels:
    """Columns of whole numbers, or of lists of these, that stand for names."""

    names: tuple[tuple[str, tuple[str, ...]], ...]

    def schema(self, found: Schema) -> Schema:
        """The columns, those of labels as texts."""
        kinds = {
            name: pl.List(pl.String()) if found[name].is_nested() else pl.String() for name, _ in self.names
        }
        return {**found, **kinds}

    def located(self, part: pl.LazyFrame) -> pl.LazyFrame:
        """The rows with the names in place of their numbers; null for a number that has none."""
        kinds = part.collect_schema()
        return part.with_columns(self._named(name, names, kinds[name]) for name, names in self.names)

    def nameless(self, part: pl.LazyFrame, column: str) -> pl.LazyFrame:
        """The numbers of a column that have no name."""
        values = part.select(column)
        if part.collect_schema()[column].is_nested():
            values = values.select(pl.col(column).explode())
        return values.filter(~pl.col(column).is_between(0, len(dict(self.names)[column]) - 1))

    @staticmethod
    def _named(name: str, names: Sequence[str], kind: pl.DataType) -> pl.Expr:
        values = pl.col(name)
        if not kind.is_nested():
            return _names_for(values, names)
        lists = values.arr.to_list() if isinstance(kind, pl.Array) else values
        return lists.list.eval(_names_for(pl.element(), names))


def _names_for(numbers: pl.Expr, names: Sequence[str]) -> pl.Expr:
    which = pl.Series(range(len(names)), dtype=pl.Int64)
    numbers = numbers.cast(pl.Int64, strict=False)
    return numbers.replace_strict(which, pl.Series(names), default=None, return_dtype=pl.String)


def joined_caption(
    schemas: Sequence[Schema], labels: Sequence[ClassLabels | None], overrides: Columns
) -> tuple[str, ...]:
    """The columns that make a caption where no column of text is one; none where one is, or there is nothing.

    They are those that the user named, a column of lists, else the class labels. Raises SourceError for one
    that no file has.
    """
    kinds = {name.lower(): kind for schema in reversed(schemas) for name, kind in schema.items()}
    usual = next((name for name in NAMES["caption"] if name in kinds), None)
    named = usual if overrides.caption is None else overrides.caption
    if named is None:
        found = dict.fromkeys(name for each in labels if each is not None for name, _ in each.names)
        return tuple(found) or tuple(name for name in _LABELS if kinds.get(name) == pl.String)[:1]
    if named.lower() in kinds or "," not in named:
        return (named,) if is_texts(kinds.get(named.lower(), pl.Null())) else ()
    names = tuple(name.strip() for name in named.split(",") if name.strip())
    for name in names:
        if name.lower() not in kinds:
            raise SourceError(f"there is no column {name!r} for the caption; there are {listed(schemas[0])}")
    return names


def made_columns(
    schema: Schema,
    templates: Mapping[str, str],
    where: str,
    reserved: str | None = None,
    caption: Sequence[str] = (),
) -> MadeColumns | None:
    """The columns that `templates` (role -> text with columns in braces) make of a file's; None: none.

    `{part:06}` fills a number up with zeros. A column of the name `reserved` is called something else. A row
    in which a part is null or empty has none. A `caption` joins what there is of its columns. Raises
    SourceError for a part that is no column.
    """
    foreign = [name for name in schema if name.lower() == reserved]
    columns = {role: _filled(template, schema, role, where) for role, template in templates.items()}
    if (joined := _joined(caption, schema, where)) is not None:
        columns.setdefault("caption", joined)
    if not columns and not foreign:
        return None
    taken = {name: f"source_{name}" for name in schema if name.lower() in columns or name in foreign}
    return MadeColumns(columns, taken)


def _filled(template: str, schema: Schema, role: str, where: str) -> pl.Expr:
    pieces = _PART.split(template)  # text, name, digits, text, name, digits, ..., text
    if len(pieces) == 1:
        raise SourceError(
            f"--made-{role} {template!r} names no column in braces, as 'https://host/{{id}}.jpg'"
        )
    own = {name.lower(): name for name in reversed(list(schema))}
    parts = [pl.lit(pieces[0])]
    for name, digits, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        if name.lower() not in own:
            raise SourceError(
                f"--made-{role} needs a column {name!r}, and {where} has none: there are {listed(schema)}"
            )
        column = own[name.lower()] if name not in schema else name
        value = _as_text(column, schema[column], where)
        parts += [value if digits is None else value.str.zfill(int(digits)), pl.lit(text)]
    return pl.concat_str(parts)


def _joined(names: Sequence[str], schema: Schema, where: str) -> pl.Expr | None:
    """The texts of those of the columns that are there as one, null where all are empty."""
    own = {name.lower(): name for name in reversed(list(schema))}
    there = [own[name.lower()] if name not in schema else name for name in names if name.lower() in own]
    if not there:
        return None
    text = pl.concat_str(
        [_as_text(name, schema[name], where) for name in there], separator=LIST_COMMA, ignore_nulls=True
    )
    return pl.when(text != "").then(text)


def _as_text(name: str, kind: pl.DataType, where: str) -> pl.Expr:
    """A column's values as text; whole numbers that were read with a fraction without it, empty ones null."""
    values = pl.col(name)
    if is_texts(kind):
        return joined_texts(values, kind)
    if kind.is_nested() or kind == pl.Binary:
        raise SourceError(f"column {name!r} of {where} holds {kind}, which no text can be made of")
    if kind.is_float():
        whole = values.cast(pl.Int64, strict=False)
        return pl.when(values == whole).then(whole.cast(pl.String)).otherwise(values.cast(pl.String))
    text = values.cast(pl.String)
    return pl.when(text.str.strip_chars() != "").then(text)
