"""The conditions a row must pass, in a fixed order: the first one that it fails is charged with it.

Cheap conditions on numbers come first, then those on the caption, then `where`, then what vectors tell. A
null (or NaN) never passes a condition that it is tested for: a row without a caption fails `exclude` too.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import polars as pl

from visunex.base.errors import UsageError
from visunex.recipes import Filter

from ..metadata.columns import Role, Roles, Schema, column, is_texts, joined_texts, listed
from .keywords import HEAVIEST, any_of, weight

_BOUNDS: tuple[tuple[str, Role, str], ...] = (
    ("min_score", "score", "ge"),
    ("max_score", "score", "le"),
    ("min_ratings", "ratings", "ge"),
    ("min_width", "width", "ge"),
    ("min_height", "height", "ge"),
    ("min_similarity", "similarity", "ge"),
    ("max_punsafe", "punsafe", "le"),
    ("max_pwatermark", "pwatermark", "le"),
)
_MEASURED = (  # what is told by a row's vector
    ("min_likeness", "likeness", "ge"),
    ("min_score", "score", "ge"),
    ("max_score", "score", "le"),
    ("max_unsafe", "unsafe", "le"),
)
# polars reads files while it parses a subquery over read_csv(...), so these are refused before it sees them.
_QUERIES = re.compile(r"\bselect\b|\bread_\w*|\bscan_\w*|\(\s*(from|values|with|table)\b", re.IGNORECASE)
# What in a serialised polars expression makes a row's result depend on other rows.
_NOT_ROW_BY_ROW = frozenset({"Agg", "Over", "Window", "Rolling", "Len", "Explode", "Quantile", "Correlation"})


# What makes of a few bytes as many as it likes: refused before anything is evaluated.
_GROWING = {"PadStart": "LPAD", "PadEnd": "RPAD", "Replace": "REPLACE", "ReplaceMany": "REPLACE",
            "RepeatBy": "REPEAT", "Range": "GENERATE_SERIES", "ToString": "STRFTIME",
            "Join": "ARRAY_TO_STRING"}  # fmt: skip
_MOST_PARTS, _LONGEST_PART = 8, 1000  # texts put together in a row, and letters that are not the row's own
# polars' parser takes chains of any length (`OR` after `OR`), and then falls off the end of its stack.
MOST_OPERATORS = 600
_DEEPEST = 30  # brackets: beyond 50 the parser tries all ways to read them, for ever
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_OPERATOR = re.compile(
    r"[^\w\s,.]|\b(?:and|or|x?not|is|in|case|when|between|i?like|at|collate|div|interval)\b", re.IGNORECASE
)


_AT_CC = r"^(?:https?://)?(?:www\.)?creativecommons\.org"
_LICENSE_NAMES = (
    (_AT_CC + r"/publicdomain/zero\b.*$", "cc0"),
    (_AT_CC + r"/publicdomain/mark\b.*$", "public-domain-mark"),
    (_AT_CC + r"/licenses/([a-z-]+)/?$", "cc-$1"),
    (_AT_CC + r"/licenses/([a-z-]+)/([\d.]+)\b.*$", "cc-$1-$2"),
    (r"^cc-?0(?:-1\.0)?(?:-universal)?$", "cc0"),
)
_LICENSE_VERSION = r"-\d+(?:\.\d+)*$"


@dataclass(frozen=True)
class Condition:
    """A condition's name in the report, and the expression that is true for the rows that pass."""

    name: str
    passes: pl.Expr


def conditions(wanted: Filter, roles: Roles, schema: Schema) -> list[Condition]:
    """The conditions of a recipe over a source's columns, in the order in which they are charged.

    Raises SourceError for a column that is missing, UsageError for a keyword or `where` that makes no sense.
    """
    return [
        *_bounds(wanted, roles, schema),
        *_on_licenses(wanted, roles, schema),
        *_on_captions(wanted, roles, schema),
    ]


def roles_in_use(wanted: Filter) -> set[Role]:
    """The roles that a recipe asks about: every file of a source must have a column for them, if one has."""
    used: set[Role] = {"url", *(role for key, role, _ in _BOUNDS if getattr(wanted, key) is not None)}
    if wanted.keywords or wanted.exclude or wanted.dedupe == "caption":
        used.add("caption")
    if wanted.dedupe == "hash":
        used.add("hash")
    if wanted.license:
        used.add("license")
    if wanted.ranked_by == "score":
        used.add("score")
    return used - _measured_roles(wanted)


def on_measured(measured: Mapping[str, pl.Expr], wanted: Filter) -> list[Condition]:
    """The conditions on what is told of a row by its vector; all of that is null where it has none."""
    if not measured:
        return []
    found = [Condition("no_vector", next(iter(measured.values())).is_not_null())]
    for key, name, comparison in _MEASURED:
        if name in measured and (bound := getattr(wanted, key)) is not None:
            found.append(Condition(key, getattr(measured[name], comparison)(bound)))
    return found


def _measured_roles(wanted: Filter) -> set[Role]:
    """The roles that no column plays, as what they mean is told by vectors."""
    return {"score"} if wanted.score_with else set()


def _bounds(wanted: Filter, roles: Roles, schema: Schema) -> Iterable[Condition]:
    for key, role, comparison in _BOUNDS:
        if (bound := getattr(wanted, key)) is not None and role not in _measured_roles(wanted):
            values = column(roles, schema, role, _option(key))
            yield Condition(key, getattr(values, comparison)(bound))


def _on_licenses(wanted: Filter, roles: Roles, schema: Schema) -> Iterable[Condition]:
    """Under one of the licences, whose version may be left out, by name or by address at Creative Commons."""
    if wanted.license:
        own = _license_name(column(roles, schema, "license", "--license"))
        asked = pl.select(_license_name(pl.lit(pl.Series(wanted.license)))).to_series().to_list()
        yield Condition("license", own.is_in(asked) | own.str.replace(_LICENSE_VERSION, "").is_in(asked))


def _license_name(texts: pl.Expr) -> pl.Expr:
    """Licences in one spelling: `cc0`, `cc-by-2.0`; what is not of Creative Commons with - for blanks."""
    names = texts.str.strip_chars().str.to_lowercase().str.replace_all(r"[\s_]+", "-")
    for pattern, name in _LICENSE_NAMES:
        names = names.str.replace(pattern, name)
    return names


def _on_captions(wanted: Filter, roles: Roles, schema: Schema) -> Iterable[Condition]:
    if wanted.keywords:
        caption = column(roles, schema, "caption", "--keywords")
        yield Condition("keywords", any_of(caption, wanted.keywords, wanted.match))
    if wanted.exclude:
        caption = column(roles, schema, "caption", "--exclude")
        yield Condition("exclude", any_of(caption, wanted.exclude, wanted.match).not_())
    if wanted.where is not None:
        yield Condition("where", where(wanted.where, schema))


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def where(text: str, schema: Schema) -> pl.Expr:
    """An SQL condition over the columns, row by row: no queries, no files, no aggregates.

    Raises UsageError, naming the columns.
    """
    if query := _QUERIES.search(text):
        raise UsageError(f"--where takes a condition, not a query: {query[0]!r} is not allowed in it")
    plain = _QUOTED.sub(" ", text)
    if len(_OPERATOR.findall(plain)) > MOST_OPERATORS:
        raise UsageError(_too_long(schema))
    if _depth(plain) > _DEEPEST:
        raise UsageError(f"--where has more than {_DEEPEST} brackets one within another: write it flatter")
    said = repr(text if len(text) <= 100 else f"{text[:97]}...")
    try:
        parsed = pl.sql_expr(text)
        tree = json.loads(parsed.meta.serialize(format="json"))
        _require_row_by_row(said, _node_names(tree))
        _require_short_texts(said, tree, schema)
        parsed, result = _tried(parsed, tree, schema)
    except RecursionError:
        raise UsageError(_too_long(schema)) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UsageError(f"--where {said}: {_reason(error)}; the columns are {listed(schema)}") from None
    if result.dtypes != [pl.Boolean]:
        raise UsageError(f"--where {said} gives {result.dtypes[0]}, not true or false; write a comparison")
    return parsed


def _tried(parsed: pl.Expr, tree: Any, schema: Schema) -> tuple[pl.Expr, pl.DataFrame]:
    """The condition, and what it gives on one empty row: a type that does not fit shows only then.

    Where lists of texts do not fit, they are taken as one text each. Raises what polars raises.
    """
    empty = pl.DataFrame([pl.Series(name, [None], kind) for name, kind in schema.items()])
    try:
        return parsed, empty.select(parsed)
    except pl.exceptions.PolarsError:
        lists = {name: kind for name, kind in schema.items() if is_texts(kind)}
        if not lists.keys() & {*parsed.meta.root_names()}:
            raise
        joined = _with_columns(tree, {name: joined_texts(pl.col(name), kind) for name, kind in lists.items()})
        other = pl.Expr.deserialize(io.StringIO(json.dumps(joined)), format="json")
        with contextlib.suppress(pl.exceptions.PolarsError):
            return other, empty.select(other)
        raise


def _with_columns(tree: Any, columns: Mapping[str, pl.Expr]) -> Any:
    """A serialised expression with others in place of columns."""
    if isinstance(tree, list):
        return [_with_columns(each, columns) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {"Column"} and tree["Column"] in columns:
        return json.loads(columns[tree["Column"]].meta.serialize(format="json"))
    return {key: _with_columns(value, columns) for key, value in tree.items()}


def _depth(text: str) -> int:
    """How many brackets lie one within another."""
    steps = (1 if letter in "([{" else -1 for letter in text if letter in "([{)]}")
    return max(accumulate(steps), default=0)


def _too_long(schema: Schema) -> str:
    return (
        f"--where has too many operators one upon another ({MOST_OPERATORS} at most); for one of many values "
        f"write `column IN (a, b, ...)`; the columns are {listed(schema)}"
    )


def _require_row_by_row(said: str, names: set[str]) -> None:
    if foreign := names & _NOT_ROW_BY_ROW:
        raise UsageError(
            f"--where {said} must judge each row by itself, without {', '.join(sorted(foreign))}"
        )
    if growing := sorted({_GROWING[name] for name in names & _GROWING.keys()}):
        raise UsageError(f"--where {said} may fill any memory: write it without {', '.join(growing)}")


def _require_short_texts(said: str, tree: Any, schema: Schema) -> None:
    """Refuse what puts many texts together, or long ones: it would be done for all rows of a batch."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if '"literal": false' in json.dumps(node.get("function")):
                _require_light_pattern(said, node)
            if "ConcatHorizontal" in json.dumps(node.get("function")) or node.get("op") == "Plus":
                columns, letters = _parts(node, schema)
                if columns > _MOST_PARTS or letters > _LONGEST_PART:
                    raise UsageError(
                        f"--where {said} may fill any memory: it puts more than {_MOST_PARTS} texts, or "
                        f"{_LONGEST_PART} letters, together"
                    )
                continue
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _require_light_pattern(said: str, node: Mapping[str, Any]) -> None:
    """Refuse a regular expression that is long, weighs much or is not written out: it meets every row."""
    written = [each.get("Literal", {}).get("Scalar", {}).get("String") for each in node["input"][1:2]]
    if not all(isinstance(each, str) for each in written):
        raise UsageError(f"--where {said} may take any time: write its pattern as one text in quotes")
    if any(len(each) > _LONGEST_PART for each in written):
        raise UsageError(
            f"--where {said} may take any time: it has more than {_LONGEST_PART} letters in a pattern"
        )
    if any(weight(each) > HEAVIEST for each in written):
        raise UsageError(
            f"--where {said} may take any time: its pattern repeats more than {HEAVIEST} letters' worth; "
            "repeat less, or without an upper bound (+, *)"
        )


def _parts(tree: Any, schema: Schema) -> tuple[int, int]:
    """How many columns that are no numbers, and letters of texts, are in a serialised expression."""
    columns, letters, waiting = 0, 0, [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            columns += "Column" in node and not schema.get(node["Column"], pl.String()).is_numeric()
            letters += len(node["String"]) if isinstance(node.get("String"), str) else 0
            letters += len(node["delimiter"]) * len(schema) if isinstance(node.get("delimiter"), str) else 0
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return columns, letters


def _reason(error: BaseException) -> str:
    """What polars says, in a line, without its own list of columns."""
    text = str(error).split("\n\nThis error occurred")[0].strip()
    lines = [line for line in text.splitlines() if line.strip()] or ["it makes no sense"]
    return lines[-1].split("; valid columns")[0].removeprefix("error: ")[:200]


def _node_names(tree: Any) -> set[str]:
    """Every key and bare text of a serialised expression, its literals aside."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found.update(node)
            waiting += [value for key, value in node.items() if key not in ("Literal", "Column")]
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, str):
            found.add(node)
    return found
