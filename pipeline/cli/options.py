"""Options that are made from the recipe's schema, so that each setting is described in one place."""

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click

from visunex.base.errors import UsageError

from ..rundir import RunDir

if TYPE_CHECKING:
    from visunex.recipes import Recipe

F = TypeVar("F", bound=Callable[..., Any])
Overrides = dict[str, dict[str, Any]]

_GIVEN = "visunex.overrides"


def run_option(function: F) -> F:
    """`--run DIR` (else $VISUNEX_RUN, else runs/default), passed on as a `RunDir` named `run`."""
    return click.option(
        "--run",
        envvar="VISUNEX_RUN",
        default="runs/default",
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


def section_options(section: str, *, skip: tuple[str, ...] = ()) -> Callable[[F], F]:
    """One option for every key of a recipe's section; what the user gave is read with `overrides()`."""

    def decorate(function: F) -> F:
        from visunex.recipes import Recipe

        model = Recipe.model_fields[section].annotation
        for key, field in reversed(list(model.model_fields.items())):  # type: ignore[union-attr]
            if key not in skip:
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
        data[section] = {**(data[section] or {}), **_split_lists(section, values)}
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UsageError("; ".join(_fault(fault) for fault in error.errors())) from None


def _fault(fault: Any) -> str:
    option = "--" + str(fault["loc"][1]).replace("_", "-") if len(fault["loc"]) > 1 else str(fault["loc"][0])
    return f"{option}: {fault['msg'].removeprefix('Value error, ')}"


def _split_lists(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Split `--keywords a,b` at the commas; a regular expression keeps its own."""
    literal = not (section == "filter" and values.get("match") == "regex")
    return {
        key: tuple(part for item in value for part in item.split(","))
        if literal and isinstance(value, tuple)
        else value
        for key, value in values.items()
    }


def _option(section: str, key: str, field: Any) -> Callable[[F], F]:
    def remember(context: click.Context, option: click.Parameter, value: Any) -> None:
        if context.get_parameter_source(option.name or "") is not click.core.ParameterSource.DEFAULT:
            context.meta.setdefault(_GIVEN, {}).setdefault(section, {})[key] = value

    name = key.replace("_", "-")
    kind, settings = _click_type(field.annotation)
    flag = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    return click.option(
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
