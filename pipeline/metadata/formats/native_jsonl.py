"""Lines of JSON that are objects of the same keys, taken apart by one pattern: as jsonl.py, and fast."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from .records import Texts
from .typed import plain

__all__ = ["columns_of"]

_STRING, _NUMBER = r'"(?:[^"\\\x00-\x1f]|\\.)*"', r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_VALUE = rf"({_STRING}|{_NUMBER}|true|false|null)"
_MOST_KEYS = 100  # beyond these a pattern is slow
_WHOLE, _LONGEST = r"^-?(?:0|[1-9][0-9]*)$", 4000  # digits: Python reads no whole number of many more
_DECIMAL = (
    r"^-?(?:0\.0|0\.0{0,3}[1-9][0-9]*|[1-9][0-9]{0,14}\.[0-9]+)$"  # Python writes others with an exponent
)

Column = Texts | list[Any]


def columns_of(lines: list[str]) -> Mapping[str, Column] | None:
    """The columns of lines that are objects of just the keys of the first, in that order, without lists.

    None where some line may be something else, or is no JSON.
    """
    keys = _keys(lines[0]) if lines else ()
    if not keys:
        return None
    pairs = " *, *".join(f'"{re.escape(key)}" *: *{_VALUE}' for key in keys)
    found = pl.Series(lines).str.extract_groups(rf"^ *\{{ *{pairs} *\}} *$").struct.unnest()
    if found.to_series(0).null_count():
        return None
    try:
        return {key: _column(found.to_series(place)) for place, key in enumerate(keys)}
    except (ValueError, RecursionError):  # an escape that is none, a number of thousands of digits
        return None


def _keys(line: str) -> tuple[str, ...]:
    """The keys of an object that can be found by a pattern; none where it is no such object."""
    try:
        pairs = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(pairs, tuple) or len(pairs) > _MOST_KEYS:
        return ()
    keys = tuple(key for key, _ in pairs)
    plain = all(key.isprintable() and not {*'"\\'} & {*key} for key in keys)
    return keys if plain and len({*keys}) == len(keys) else ()


def _column(tokens: pl.Series) -> Column:
    """The values that are written so. Raises ValueError where some are no JSON."""
    own = pl.col(tokens.name)
    nulls, texts, literals = (
        int(each)
        for each in tokens.to_frame()
        .select(
            (own == "null").sum(),
            own.str.starts_with('"').sum().alias("texts"),
            own.is_in(["true", "false"]).sum().alias("literals"),
        )
        .row(0)
    )
    values = tokens.to_frame().select(pl.when(own != "null").then(own)).to_series() if nulls else tokens
    given = len(tokens) - nulls
    if given == texts:
        return Texts(_unquoted(values), frozenset({str} if texts else ()))
    if given == literals:
        return Texts(values, frozenset({bool}))
    return _parsed(tokens) if texts or literals else _numbers(values)


def _unquoted(values: pl.Series) -> pl.Series:
    """The texts within quotes."""
    escaped = values.str.contains("\\", literal=True).arg_true()
    found = values.str.strip_prefix('"').str.strip_suffix('"')
    return (
        found.scatter(escaped, list(map(plain, _parsed(values.gather(escaped))))) if len(escaped) else found
    )


def _numbers(values: pl.Series) -> Texts:
    """Numbers as Python writes them, which is how most are written already."""
    whole = values.str.contains(_WHOLE) & (values != "-0") & (values.str.len_bytes() <= _LONGEST)
    if whole.all():
        return Texts(values, frozenset({int}))
    same = values.cast(pl.Float64, strict=False).cast(pl.String) == values
    decimal = (values.str.contains(_DECIMAL) & same).fill_null(False)
    kinds: set[type] = {kind for kind, found in ((int, whole), (float, decimal)) if found.any()}
    other = (values.is_not_null() & ~(whole | decimal)).arg_true()
    if len(other):
        parsed = _parsed(values.gather(other))
        kinds |= set(map(type, parsed))
        values = values.scatter(other, list(map(str, parsed)))
    return Texts(values, frozenset(kinds))


def _parsed(tokens: Iterable[str]) -> list[Any]:
    values: list[Any] = json.loads(f"[{','.join(tokens)}]")
    return values
