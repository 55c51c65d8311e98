"""The recipe's keys as a table for people, made from the schema so that it is never out of date."""

import json
import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from .faults import all_keys, section_type
from .schema import Recipe

_NAMES = {str: "text", int: "whole number", float: "number", bool: "true/false"}


def schema_table() -> str:
    """Every key of a recipe as a Markdown table: key, type, default, meaning."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for path in all_keys():
        field = key_field(path)
        columns = (f"`{'.'.join(path)}`", _type(field.annotation), _default(field), field.description or "")
        rows.append("| " + " | ".join(text.replace("|", "\\|") for text in columns) + " |")
    return "\n".join(rows) + "\n"


def key_field(path: tuple[str, ...]) -> FieldInfo:
    """The field behind a recipe's key."""
    model: Any = Recipe
    for name in path[:-1]:
        model = section_type(model.model_fields[name].annotation)
    return model.model_fields[path[-1]]


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(kind) for kind in arguments if kind is not type(None))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if hasattr(annotation, "__metadata__"):  # Annotated: the bounds are told when they are broken
        return _type(annotation.__origin__)
    return _NAMES[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if field.default in (None, "") else f"`{json.dumps(field.default)}`"
