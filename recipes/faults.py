"""What is wrong with a recipe, in words: each fault with its line, and the key that was probably meant."""

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from visunex.base.text import lines_of

from .overrides import Override
from .schema import Recipe

Path = tuple[str, ...]

_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]\s*(#.*)?$")
_ASSIGNMENT = re.compile(r"""^\s*([A-Za-z0-9_."' \t-]+?)\s*=""")
_QUOTES = re.compile(r"'''|\"\"\"")

# Pydantic's kinds of error in the words of a recipe; {...} are its own details.
_WORDS = {
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "missing": "is missing",
    "model_type": "must be a section, [{key}]",
    "string_pattern_mismatch": "must match {pattern}",
    "string_sub_type": "must be text",
    "string_too_short": "must not be empty",
    "string_type": 'must be text (in quotes, "...")',
    "string_unicode": "must be text in Unicode",
    "tuple_type": "must be a list of texts",
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a recipe; `line` counts from 1, None where the key stands in no line.

    `override` is what brought it in, where the recipe's own text did not.
    """

    key: str
    message: str
    line: int | None = None
    override: Override | None = None

    def __str__(self) -> str:
        name = f"{self._name()}: " if self.key else ""
        return f"{name}{self.message}"

    def _name(self) -> str:
        if self.override is None:
            return f"line {self.line}: {self.key}" if self.line else self.key
        if not self.override.given_as:
            return f"--set {self.key}"
        # What is wrong with a whole section is not wrong with one option.
        return self.override.given_as if self._is_of(self.override.key) else self.key

    def _is_of(self, key: str) -> bool:
        return self.key.partition("[")[0] == key or self.key.startswith(f"{key}.")


def faults_of(error: ValidationError, text: str, overrides: Sequence[Override]) -> list[Fault]:
    """Every fault of a recipe, by line: those of its `text`, and those that overrides brought in."""
    lines = key_lines(text)
    found = [_fault(detail, lines, overrides) for detail in error.errors(include_url=False)]
    return sorted(dict.fromkeys(found), key=lambda fault: (fault.override is not None, fault.line or 0))


def key_lines(text: str) -> dict[Path, int]:
    """The line, from 1, in which each table and key of a TOML text first stands (read lightly)."""
    table: Path = ()
    lines: dict[Path, int] = {}
    for number, line in _outside_long_strings(text):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            key = (*table, *_parts(assignment[1]))
            for length in range(len(table) + 1, len(key) + 1):
                lines.setdefault(key[:length], number)
    return lines


def _outside_long_strings(text: str) -> Iterator[tuple[int, str]]:
    inside = ""
    for number, line in enumerate(lines_of(text), 1):
        if not inside:
            yield number, line
        for quotes in _QUOTES.findall(line):
            inside = quotes if not inside else "" if inside == quotes else inside


def _parts(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _fault(detail: ErrorDetails, lines: Mapping[Path, int], overrides: Sequence[Override]) -> Fault:
    names = tuple(str(part) for part in detail["loc"] if not isinstance(part, int))
    index = next((part for part in detail["loc"] if isinstance(part, int)), None)
    key = ".".join(names) + (f"[{index}]" if index is not None else "")
    line = next((lines[names[:size]] for size in range(len(names), 0, -1) if names[:size] in lines), None)
    return Fault(key, in_words(detail, names), line, _brought_by(overrides, names))


def _brought_by(overrides: Sequence[Override], names: Path) -> Override | None:
    """The override that set this key, a part of it, or the section it is in."""
    paths = {tuple(each.key.split(".")): each for each in overrides}
    return next((each for path, each in paths.items() if path[: len(names)] == names[: len(path)]), None)


def in_words(detail: ErrorDetails, names: Path) -> str:
    """What pydantic found wrong with the key `names`, in the words of a recipe."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown(names)
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    template = _WORDS.get(kind)
    if template is None:
        return detail["msg"]
    return template.format(**{"key": ".".join(names), **detail.get("ctx", {})}) + _got(detail)


def _got(detail: ErrorDetails) -> str:
    """The value found, where it is short and says something."""
    value = detail["input"]
    if detail["type"] == "missing" or not isinstance(value, str | int | float) or value == "":
        return ""
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f", not {shown}" if len(shown) <= 60 else f", not {shown[:57]}..."


def _unknown(names: Path) -> str:
    """The key that was meant: one of the same section by its letters, or the same key of another section."""
    siblings = section_keys(names[:-1])
    if near := difflib.get_close_matches(names[-1].lower().replace("-", "_"), siblings, n=1):
        return f"unknown key; did you mean {near[0]}?"
    elsewhere = [".".join(path) for path in all_keys() if path[-1] == names[-1]]
    if elsewhere:
        return f"unknown key here; did you mean {' or '.join(elsewhere)}?"
    return f"unknown key; there are {', '.join(siblings)}"


def section_keys(path: Path) -> list[str]:
    """The keys a recipe's section may hold; those of the recipe itself for the empty path."""
    return [key[-1] for key in all_keys(sections=True) if key[:-1] == path]


def all_keys(*, sections: bool = False) -> list[Path]:
    """Every key of a recipe as a path, in the schema's order; with `sections`, the sections too."""
    return list(_walk(Recipe, (), sections))


def _walk(model: type[BaseModel], path: Path, sections: bool) -> Iterator[Path]:
    for name, field in model.model_fields.items():
        inner = section_type(field.annotation)
        if inner is None or sections:
            yield (*path, name)
        if inner is not None:
            yield from _walk(inner, (*path, name), sections)


def section_type(annotation: Any) -> type[BaseModel] | None:
    """The section class of a field's annotation (`Filter`, `Reference | None`); None for a plain value."""
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
