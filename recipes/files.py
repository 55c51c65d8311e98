"""Recipes in and out: shipped names, TOML files, overrides. Every fault of a recipe is reported at once."""

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from visunex.base.suggest import did_you_mean
from visunex.base.text import lines_of

from .faults import Fault, faults_of
from .overrides import OverrideError, Overrides, RecipeError, applied, as_overrides
from .schema import Recipe

SHIPPED = Path(__file__).parent
# A recipe is a page of text: what is larger is some other file.
LARGEST = 128 * 1024
# Python's TOML parser takes the square of a dotted key's length in time: minutes for 100 KiB of `a.a.a...`.
MOST_DOTS = 200


def names() -> list[str]:
    """The shipped recipes, in alphabetical order."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def find(name_or_path: str | Path) -> Path:
    """The file of a shipped recipe, of a path, or of a run folder (its `recipe.toml`).

    A shipped name wins over a file of that name: write `./name` for the file. Raises RecipeError.
    """
    text = str(name_or_path)
    if text in names():
        return SHIPPED / f"{text}.toml"
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a null byte
        raise RecipeError(_not_found(text)) from None
    if stat.S_ISDIR(mode):
        path = path / "recipe.toml"
        if not path.is_file():
            raise RecipeError(f"{text} is a folder without a recipe.toml; give a recipe's name or file")
    elif not stat.S_ISREG(mode):
        raise RecipeError(f"{text} is a device or pipe, not a recipe file")
    return path


def _not_found(text: str) -> str:
    if "://" in text:
        return f"{text} is an address: a recipe is a file of this machine, or one of {', '.join(names())}"
    if "/" in text or text.endswith(".toml"):
        return f"no recipe file {text}; the shipped recipes are {', '.join(names())}"
    hint = did_you_mean(text, names())
    beside = f"; for the file say {text}.toml" if Path(f"{text}.toml").is_file() else ""
    return f"no recipe called {text!r}: {hint}there are {', '.join(names())}{beside}"


def load(name_or_path: str | Path, overrides: Overrides = ()) -> Recipe:
    """The recipe of that shipped name, file or run folder, with `overrides` (see `override`) on top.

    Raises RecipeError, listing every fault with its line; OverrideError where only overrides are at fault.
    """
    path = find(name_or_path)
    text = _read(path)
    return _validated(_parse(text, path), overrides, where=str(path), text=text)


def override(recipe: Recipe, overrides: Overrides) -> Recipe:
    """The recipe with keys replaced: `["filter.top=500", "filter.keywords=rose, tulip"]`, or a mapping.

    Values of text overrides are TOML; what is no TOML is taken as text. An empty value takes the key away, so
    that its default holds. An `Override` also says what a person wrote to give it, for messages. Raises
    OverrideError.
    """
    return _validated(recipe.model_dump(exclude_none=True), overrides, where=recipe.name)


def dumps(recipe: Recipe) -> str:
    """The recipe as TOML with every key that has a value; `load` gives an equal recipe back."""
    return tomli_w.dumps(_without_empty(recipe.model_dump(mode="json", exclude_none=True)))


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    """Sections in which nothing is set are left out."""
    kept = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in kept.items() if value != {}}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise RecipeError(f"{path} is larger than {LARGEST // 1024} KiB: not a recipe")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path} is not UTF-8 text (line {line}): not a recipe") from None


def _parse(text: str, path: Path) -> dict[str, Any]:
    for number, line in enumerate(lines_of(text), 1):
        if line.count(".") > MOST_DOTS:
            raise RecipeError(f"{path} has more than {MOST_DOTS} dots in line {number}: not a recipe")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{path} is nested too deeply: not a recipe") from None
    except ValueError as error:  # a number of thousands of digits
        raise RecipeError(f"{path} holds a value that is none: {error}") from None


def _validated(data: dict[str, Any], overrides: Overrides, *, where: str, text: str = "") -> Recipe:
    given = as_overrides(overrides)
    try:
        return Recipe.model_validate(_tuples(applied(data, given)), strict=True)
    except ValidationError as error:
        faults = faults_of(error, text, given)
    except RecursionError:
        raise RecipeError(f"{where} is nested too deeply: not a recipe") from None
    raise _error(faults, where)


def _error(faults: list[Fault], where: str) -> RecipeError:
    kind = OverrideError if all(fault.override for fault in faults) else RecipeError
    if all(fault.override and fault.override.given_as for fault in faults):
        return kind("; ".join(map(str, faults)))  # of options, not of the recipe
    if len(faults) == 1:
        return kind(f"{where}: {faults[0]}")
    return kind(f"{where} has {len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults))


def _tuples(value: Any) -> Any:
    """Lists as tuples: the schema is checked strictly, so that `top = "5"` and `top = true` are faults."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def renamed(text: str, name: str) -> str:
    """A recipe's `text` with `name` as its name; as it is where that cannot be told or `name` can be none."""
    new = re.sub(r"(?m)\A((?:(?!\s*\[).*\n)*?)name\s*=.*$", rf'\g<1>name = "{name}"', text, count=1)
    try:
        Recipe(name=name)
        return new if tomllib.loads(new) == {**tomllib.loads(text), "name": name} else text
    except (ValidationError, tomllib.TOMLDecodeError):
        return text
