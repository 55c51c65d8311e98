"""Files whose columns differ, as parts of one table: roles are found per file, names and types agreed.

What is agreed depends on which files there are, never on their order. A column that some files lack is null
there; one that is a list here and a number there is left out, unless the run needs it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import polars as pl

from visunex.recipes import Columns

from ..errors import SourceError
from .columns import NAMES, ROLES, Role, Schema, listed, recognise

__all__ = ["FileKind", "Step", "Unified", "predictor_of", "typed_keys", "unified"]

_INTEGER, _NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})"), re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_TEXTS = frozenset({*NAMES["url"], *NAMES["caption"]})


class Step(Protocol):
    """What is made of a file's columns before anything else looks at them."""

    def schema(self, found: Schema, /) -> Schema:
        """The columns that come of those found."""

    def located(self, rows: pl.LazyFrame, /) -> pl.LazyFrame:
        """The rows with these columns."""


@dataclass(frozen=True)
class FileKind:
    """Files with the same columns, those that their folders are (`keys`) among them.

    `steps` are what is made of their rows first.
    """

    paths: tuple[str, ...]
    schema: Schema
    keys: Mapping[str, str | None]
    overrides: Columns
    steps: tuple[Step, ...] = ()

    @cached_property
    def roles(self) -> dict[Role, str]:
        """The column of each role; of a role whose column a person named, that one or none."""
        there = set(map(str.lower, self.schema))
        named = {role: getattr(self.overrides, role) for role in ROLES}
        missing = [role for role, name in named.items() if name and name.lower() not in there]
        found = recognise(self.schema, self.overrides.model_copy(update=dict.fromkeys(missing)))
        return {role: name for role, name in found.items() if role not in missing}

    @cached_property
    def by_name(self) -> dict[str, str]:
        """The columns that have no role: lower-case name, where that is unique, -> own name."""
        counts = Counter(map(str.lower, self.schema))
        own = (name for name in self.schema if name not in self.roles.values())
        return {name.lower() if counts[name.lower()] == 1 else name: name for name in own}


@dataclass(frozen=True)
class Unified:
    """The table's columns and roles, and of each kind of file: None where they are just those."""

    schema: Schema
    roles: Mapping[Role, str]
    columns: Sequence[Sequence[pl.Expr] | None]


def typed_keys(keys: Iterable[Mapping[str, str | None]], overrides: Columns) -> dict[str, pl.DataType]:
    """The type of each column that folders are: numbers where all values are, else text."""
    values: dict[str, list[str]] = {}
    for each in keys:
        for name, value in each.items():
            values.setdefault(name, []).extend([] if value is None else [value])
    texts = _TEXTS | {name.lower() for name in (overrides.url, overrides.caption) if name}
    return {name: _type_of(found if name.lower() not in texts else ["a"]) for name, found in values.items()}


def _type_of(values: Sequence[str]) -> pl.DataType:
    if all(map(_INTEGER.fullmatch, values)):
        return pl.Int64()
    plain = all(_NUMBER.fullmatch(value) and not re.match(r"-?0\d", value) for value in values)
    return pl.Float64() if plain else pl.String()


def unified(kinds: Sequence[FileKind], needed: Collection[Role]) -> Unified:
    """How files of these kinds make one table. Raises SourceError, naming the file.

    A column is missing that a role in `needed` has elsewhere, or scores are of different predictors.
    """
    _require(kinds, needed)
    names = _role_names(kinds)
    owns = [_own_names(kind, names) for kind in kinds]
    order = _in_order(kinds, owns)
    types = {name: _common_type(kinds, owns, name) for name in order}
    schema = {name: kind for name, kind in types.items() if kind is not None}
    for role in needed:
        if role in names and names[role] not in schema:
            raise SourceError(f"column {names[role]!r} cannot be the {role}: files differ in what it holds")
    roles = {role: name for role, name in names.items() if name in schema}
    return Unified(schema, roles, [_columns(*each, schema) for each in zip(kinds, owns, strict=True)])


def _require(kinds: Sequence[FileKind], needed: Collection[Role]) -> None:
    for role in ROLES:
        if getattr(kinds[0].overrides, role) and not any(role in kind.roles for kind in kinds):
            recognise(kinds[0].schema, kinds[0].overrides)  # raises: no file has what was named
    for role in ("score", *needed):
        having = [kind for kind in kinds if role in kind.roles]
        for kind in kinds if having else ():
            _same_predictor(having[0], kind)
            if role in needed and role not in kind.roles:
                raise SourceError(
                    f"{kind.paths[0]} has no column {having[0].roles[role]!r} for the {role}, as "
                    f"{having[0].paths[0]} has; it has {listed(kind.schema)}"
                )


def _same_predictor(first: FileKind, second: FileKind) -> None:
    one, other = (kind.roles.get("score", "") for kind in (first, second))
    names = predictor_of(one, first.schema.get(one)), predictor_of(other, second.schema.get(other))
    if all(names) and names[0] != names[1]:
        raise SourceError(
            f"{first.paths[0]} has scores of the predictor {names[0]} ({one}), {second.paths[0]} of "
            f"{names[1]} ({other}): these are different scales, so they are not mixed in one run"
        )


def predictor_of(score: str | None, kind: pl.DataType | None = None) -> str | None:
    """The predictor behind a score column: LAION's V2 sets say AESTHETIC_SCORE, V1 sets `aesthetic`.

    Whole numbers are no score of theirs, whatever the column is called.
    """
    if kind is not None and kind.is_integer():
        return None
    names = {
        "aesthetic_score": "V2",
        "aesthetic_score_laion_v2": "V2",
        "aesthetic": "V1",
        "mean_score": "people",
        "query_similarity": "similarity",
    }
    return names.get((score or "").lower())


def _role_names(kinds: Sequence[FileKind]) -> dict[Role, str]:
    """What the column of each role is called in the table."""
    roles = dict.fromkeys(role for kind in kinds for role in kind.roles)
    return {role: _usual((kind, kind.roles[role]) for kind in kinds if role in kind.roles) for role in roles}


def _usual(names: Iterable[tuple[FileKind, str]]) -> str:
    """The name that most files have; of several such the first in the alphabet."""
    counts: Counter[str] = Counter()
    for kind, name in names:
        counts[name] += len(kind.paths)
    return min(counts, key=lambda name: (-counts[name], name))


def _own_names(kind: FileKind, names: Mapping[Role, str]) -> dict[str, str]:
    """The table's name of each column that has a role -> the file's own."""
    return {names[role]: own for role, own in kind.roles.items()}


def _in_order(kinds: Sequence[FileKind], owns: Sequence[dict[str, str]]) -> list[str]:
    """The table's columns, as most files have them, then further ones; `owns` get those without a role."""
    taken = {name for own in owns for name in own}
    for key in dict.fromkeys(key for kind in kinds for key in kind.by_name):
        having = [(kind, own) for kind, own in zip(kinds, owns, strict=True) if key in kind.by_name]
        name = _usual((kind, kind.by_name[key]) for kind, _ in having)
        while name in taken:
            name = f"source_{name}"
        taken.add(name)
        for kind, own in having:
            own[name] = kind.by_name[key]
    first = min(range(len(kinds)), key=lambda at: (-len(kinds[at].paths), str(kinds[at].schema)))
    place = {own: at for at, own in enumerate(kinds[first].schema)}
    as_first = sorted(owns[first], key=lambda name: place[owns[first][name]])
    return [*as_first, *sorted(taken - set(as_first))]


def _common_type(
    kinds: Sequence[FileKind], owns: Sequence[Mapping[str, str]], name: str
) -> pl.DataType | None:
    """A type that holds a column's values in all files; None where there is none."""
    found = {kind.schema[own[name]]: None for kind, own in zip(kinds, owns, strict=True) if name in own}
    types = sorted(found, key=str)
    if len(types) == 1:
        return types[0]
    nested = {each.is_nested() or each == pl.Object for each in types}
    if len(nested) == 2:
        return None
    try:
        joined = pl.concat([pl.DataFrame(schema={"": each}) for each in types], how="vertical_relaxed")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None if nested == {True} else pl.String()
    exact = (joined.dtypes[0].is_integer() and joined.dtypes[0] != pl.Int128) or not all(
        each.is_integer() for each in types
    )
    return joined.dtypes[0] if exact else pl.String()


def _columns(kind: FileKind, own: Mapping[str, str], schema: Schema) -> list[pl.Expr] | None:
    """A file's columns as the table's."""
    if (
        not kind.keys
        and list(kind.schema.items()) == list(schema.items())
        and all(a == b for a, b in own.items())
    ):
        return None
    return [_column(kind, own.get(name), each).alias(name) for name, each in schema.items()]


def _column(kind: FileKind, own: str | None, wanted: pl.DataType) -> pl.Expr:
    if own is None:
        return pl.lit(None, wanted)
    if own in kind.keys:
        return pl.lit(kind.keys[own]).cast(wanted)
    if kind.schema[own] == wanted:
        return pl.col(own)
    return pl.col(own).cast(wanted, strict=wanted != pl.String)
