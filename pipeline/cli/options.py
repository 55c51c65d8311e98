"""Options that are made from the recipe's schema, so that each setting is described in one place."""

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click

from visunex.base.errors import UsageError
from visunex.base.folders import DEFAULT_RUN

from ..rundir import RunDir

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from visunex.recipes import Recipe

F = TypeVar("F", bound=Callable[..., Any])
Overrides = dict[str, dict[str, Any]]

_GIVEN = "visunex.overrides"
_WHOLE = frozenset({"like", "like_images"})  # lists whose texts may hold commas
_ALSO = {"like_images": ("--like-image",)}  # how a key is called where one value is given


def run_option(function: F) -> F:
    """`--run DIR` (else $VISUNEX_RUN, else runs/default), passed on as a `RunDir` named `run`."""
    return click.option(
        "--run",
        envvar="VISUNEX_RUN",
        default=str(DEFAULT_RUN),
        show_default=True,
        metavar="DIR",
        help="The run folder.",
        callback=lambda _context, _option, value: RunDir(Path(value)),
    )(function)


def overwrite_option(function: F) -> F:
    """`--overwrite`: drop what an earlier run with other settings left."""
    return click.option(
        "--overwrite", is_flag=True, help="Start this stage anew when it was made from something else."
    )(function)


def set_option(function: F) -> F:
    """`--set filter.top=500`: any key of the recipe, repeated."""
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set any key of the recipe; repeat."
    )(function)


def section_options(
    section: str, *, skip: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> Callable[[F], F]:
    """One option for every key (or `only` these) of a recipe's section; what the user gave: `overrides()`."""

    def decorate(function: F) -> F:
        from visunex.recipes import Recipe

        model = Recipe.model_fields[section].annotation
        for key, field in reversed(list(model.model_fields.items())):  # type: ignore[union-attr]
            if key not in skip and (not only or key in only):
                function = _option(section, key, field)(function)
        return function

    return decorate


def overrides() -> Overrides:
    """The recipe keys that the current command line sets, by section."""
    return click.get_current_context().meta.get(_GIVEN, {})


def merge(recipe: "Recipe", changes: Mapping[str, Mapping[str, Any]]) -> "Recipe":
    """The recipe with `changes` (section -> key -> value) laid over it. Raises UsageError."""
    from pydantic import ValidationError

    from visunex.recipes import Recipe

    data = recipe.model_dump()
    for section, values in changes.items():
        merged = {**(data[section] or {}), **values}
        data[section] = {**merged, **_split_lists(values, whole=merged.get("match") == "regex")}
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UsageError("; ".join(map(_fault, error.errors(include_url=False)))) from None


def _fault(fault: "ErrorDetails") -> str:
    from visunex.recipes.faults import in_words

    names = tuple(str(part) for part in fault["loc"] if not isinstance(part, int))
    option = "--" + names[-1].replace("_", "-") if len(names) > 1 else names[0]
    return f"{option}: {in_words(fault, names)}"


def _split_lists(values: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """Split `--keywords a,b` at the commas; regular expressions (`whole`) and sentences keep theirs."""
    from visunex.recipes import split_keywords

    lists = {key: value for key, value in values.items() if isinstance(value, tuple) and key not in _WHOLE}
    return {
        key: tuple(part for item in value for part in split_keywords(item, whole=whole))
        for key, value in lists.items()
    }


def _option(section: str, key: str, field: Any) -> Callable[[F], F]:
    def remember(context: click.Context, option: click.Parameter, value: Any) -> None:
        if context.get_parameter_source(option.name or "") is not click.core.ParameterSource.DEFAULT:
            context.meta.setdefault(_GIVEN, {}).setdefault(section, {})[key] = value

    name = key.replace("_", "-")
    kind, settings = _click_type(field.annotation)
    flag = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    return click.option(
        *_ALSO.get(key, ()),
        flag,
        type=kind,
        help=_help(field),
        callback=remember,
        expose_value=False,
        default=None,
        **settings,
    )


def _help(field: Any) -> str:
    text = (field.description or "").rstrip(".")
    text = text[:1].upper() + text[1:]
    default = field.get_default(call_default_factory=True)
    shown = default not in (None, (), False, "")
    return f"{text}.  [default: {default}]" if shown else f"{text}."


def _click_type(annotation: Any) -> tuple[Any, dict[str, Any]]:
    """The click type of a pydantic annotation, and further settings of the option."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _click_type(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _click_type(next(part for part in get_args(annotation) if part is not types.NoneType))
    if origin is tuple:
        return str, {"multiple": True}
    if origin is Literal:
        return click.Choice(get_args(annotation)), {}
    return annotation, {}
