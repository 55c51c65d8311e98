"""Values in place of a recipe's own: given by `--set`, by an option, or by an argument in Python."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from visunex.base.errors import UsageError, VisunexError

__all__ = ["Override", "OverrideError", "Overrides", "RecipeError", "applied", "as_overrides"]


class RecipeError(VisunexError):
    """A recipe that is not there, or is wrong; the message lists every fault with its line or key."""


class OverrideError(RecipeError, UsageError):
    """A `--set`, an option or an argument that makes no sense."""


@dataclass(frozen=True)
class Override:
    """A value for the dotted `key` of a recipe; None takes the key away, so that its default holds.

    `given_as` is how messages call it: the option or argument that a person wrote, `--set KEY` without one.
    """

    key: str
    value: Any = field(hash=False)
    given_as: str = ""


Overrides = Mapping[str, Any] | Iterable[str | Override]


def as_overrides(given: Overrides) -> list[Override]:
    """Overrides of a mapping key -> value, or of `KEY=VALUE` texts and overrides; the last of a key holds.

    Values of texts are TOML; what is no TOML is taken as text. Raises OverrideError.
    """
    if isinstance(given, Mapping):
        items: Iterable[str | Override] = [Override(key, value) for key, value in given.items()]
    else:
        items = given
    overrides = [item if isinstance(item, Override) else _parsed(item) for item in items]
    return list({each.key: each for each in overrides}.values())


def applied(data: dict[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """`data`, the recipe as a table, with the overrides' values in it."""
    for each in overrides:
        data = _with(data, each.key.split("."), each.value)
    return data


def _parsed(text: str) -> Override:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise OverrideError(f"--set {text!r} is not of the form section.key=value, such as filter.top=500")
    return Override(".".join(part.strip() for part in key.split(".")), _value(value.strip()))


def _value(text: str) -> Any:
    """`text` as a TOML value; a bare word is text, and nothing at all is None."""
    if not text:
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _with(data: dict[str, Any], key: list[str], value: Any) -> dict[str, Any]:
    """`data` with the value at the dotted `key` replaced, or taken away when it is None."""
    head, rest = key[0], key[1:]
    if not rest:
        others = {name: old for name, old in data.items() if name != head}
        return others if value is None else others | {head: value}
    inner = data.get(head, {})
    if head == "source" and isinstance(inner, str):  # `source = "name"` is short for `source.data`
        inner = {"data": inner}
    table = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
    return {**data, head: _with(table, rest, value)}
