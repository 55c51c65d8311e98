"""What a source's columns mean: recognised by names usual in the LAION family, or overridden."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import polars as pl

from visunex.recipes import Columns

from ..errors import SourceError

Role = Literal[
    "url", "caption", "score", "width", "height", "similarity", "punsafe", "pwatermark", "hash", "ratings",
    "license",
]  # fmt: skip
ROLES: tuple[Role, ...] = get_args(Role)
Roles = Mapping[Role, str]
Schema = Mapping[str, pl.DataType]

# Lower-case names, the likeliest first. V2 sets call the score AESTHETIC_SCORE, V1 sets `aesthetic`, COYO has
# names of its own, and AVA's mean_score is people's.
NAMES: Mapping[Role, tuple[str, ...]] = {
    "url": ("url", "image_url", "img_url", "imageurl"),
    "caption": ("text", "caption", "alt_text", "alttext", "prompt", "title", "captions", "texts"),
    "score": (
        "aesthetic_score", "aesthetic", "aesthetics", "score", "aesthetics_score", "aesthetic_score_laion_v2",
        "mean_score", "query_similarity",
    ),
    "width": ("width", "original_width", "image_width"),
    "height": ("height", "original_height", "image_height"),
    "similarity": (
        "similarity", "clip_similarity", "clip_score", "clip_l14_similarity_score", "clip_similarity_vitl14",
    ),
    "punsafe": ("punsafe", "p_unsafe"),
    "pwatermark": ("pwatermark", "p_watermark", "watermark_score"),
    "hash": ("hash", "md5", "sha256"),
    "ratings": ("ratings", "num_ratings", "rating_count", "total_votes"),
    "license": (
        "license", "licence", "license_type", "licensename", "license_name", "license_url", "licenseurl",
        "share_license_status",
    ),
}  # fmt: skip
LIST_COMMA = ", "  # between the texts of a list, and of several columns, as one
MOST_LABELS, _LONGEST_LABEL = 100_000, 1000  # class labels of a column, and letters of one
TEXTS: frozenset[Role] = frozenset({"url", "caption", "license"})
_LISTED = 50  # names of columns in a message
LONGEST_TEXT = 1 << 16  # bytes: what is longer is no link and no caption
NUMBERS: frozenset[Role] = frozenset(ROLES) - TEXTS - {"hash"}


def recognise(schema: Schema, overrides: Columns) -> dict[Role, str]:
    """The column of each role that has one: the name in `overrides`, else a usual one.

    Raises SourceError where a column of `overrides` is not there.
    """
    named = {role: name for role in ROLES if (name := getattr(overrides, role)) is not None}
    found = {role: _override(schema, role, name) for role, name in named.items()}
    guessed = {role: name for role in ROLES if role not in found and (name := _recognised(schema, role))}
    return {**guessed, **found}


def column(roles: Roles, schema: Schema, role: Role, purpose: str) -> pl.Expr:
    """The role's values: text as String, numbers as they are; null where too long or not finite.

    Raises SourceError, naming the columns there are, when there is none, or its values are of another kind.
    """
    name = roles.get(role)
    if name is None:
        raise SourceError(
            f"{purpose} needs a column for the {role}, and none is recognised among {listed(schema)}; "
            f"name it with --{role}-column"
        )
    values, kind = pl.col(name), schema[name]
    if role in TEXTS:
        return _text(values, kind, name, role)
    return _number(values, kind, name, role) if role in NUMBERS else values


def short_text(values: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """The values, null where a text is longer than LONGEST_TEXT: it would be copied row by row."""
    if isinstance(kind, pl.String):
        size = values.str.len_bytes()
    elif isinstance(kind, pl.Binary):
        size = values.bin.size()
    elif isinstance(kind, pl.Categorical | pl.Enum):
        size = values.cat.len_bytes()
    else:
        return values
    return pl.when(size <= LONGEST_TEXT).then(values)


def is_texts(kind: pl.DataType) -> bool:
    """Whether values are lists of texts."""
    inner = kind.inner if isinstance(kind, pl.List | pl.Array) else None
    return inner in (pl.String, pl.Categorical, pl.Enum)


def joined_texts(values: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Lists of texts as one text each; null where there is none in it, or as `short_text` says."""
    texts = (values.arr.to_list() if isinstance(kind, pl.Array) else values).cast(pl.List(pl.String))
    sizes = texts.list.eval(pl.element().str.len_bytes()).list.sum()
    few = pl.when(sizes <= LONGEST_TEXT).then(texts)
    text = few.list.eval(pl.element().filter(pl.element().str.strip_chars() != "")).list.join(LIST_COMMA)
    return pl.when(text != "").then(text)


def label_names(feature: Any) -> tuple[str, ...] | str | None:
    """The names of a column's class labels, as Hugging Face `datasets` describes a column; else None.

    Those of a list's items where it holds lists. What is wrong with the names, where these cannot be taken.
    """
    if isinstance(feature, Mapping) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        feature = feature.get("feature")
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if not isinstance(feature, Mapping) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        return "their names are no list of texts"
    if len(names) > MOST_LABELS:
        return f"there are {len(names):,} names, more than {MOST_LABELS:,}"
    longest = max(map(len, names))
    return tuple(names) if longest <= _LONGEST_LABEL else f"one has {longest:,} letters"


def listed(schema: Schema) -> str:
    """The names of the columns, for a message."""
    names = [*schema]
    more = [f"and {len(names) - _LISTED:,} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more]) or "no columns at all"


def _override(schema: Schema, role: Role, name: str) -> str:
    same = [name] if name in schema else [own for own in schema if own.lower() == name.lower()]
    if len(same) != 1:
        raise SourceError(f"there is no column {name!r} for the {role}; there are {listed(schema)}")
    return same[0]


def _recognised(schema: Schema, role: Role) -> str | None:
    by_lower_case = {own.lower(): own for own in reversed(list(schema))}
    return next((by_lower_case[name] for name in NAMES[role] if name in by_lower_case), None)


def _text(values: pl.Expr, kind: pl.DataType, name: str, role: Role) -> pl.Expr:
    if isinstance(kind, pl.String):
        return short_text(values, kind)
    if isinstance(kind, pl.Categorical | pl.Enum | pl.Binary | pl.Null):
        return short_text(values, kind).cast(pl.String, strict=False)
    raise SourceError(f"column {name!r} cannot be the {role}: it holds {kind}, not text")


def _number(values: pl.Expr, kind: pl.DataType, name: str, role: Role) -> pl.Expr:
    if kind.is_float():
        return pl.when(values.is_finite()).then(values)
    if kind.is_numeric() or kind == pl.Null:
        return values
    raise SourceError(f"column {name!r} cannot be the {role}: it holds {kind}, not numbers")
