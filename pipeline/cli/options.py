"""Options that are made from the recipe's schema, so that each setting is described in one place."""

import types
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click

from visunex.base.errors import UsageError, VisunexError
from visunex.base.folders import DEFAULT_RUN
from visunex.base.storage import shown
from visunex.base.text import printable

from ..rundir import RunDir, run_at

if TYPE_CHECKING:
    from visunex.recipes import Override, Recipe

F = TypeVar("F", bound=Callable[..., Any])

_GIVEN = "visunex.overrides"
# Lists whose texts may hold commas.
_WHOLE = frozenset(
    {"encode.also", "filter.like", "filter.like_images", "filter.unlike", "filter.unlike_images"}
)
_ALSO = {
    "with_images": ("--with-pictures/--no-with-pictures",),
    "like_images": ("--like-image",),
    "unlike_images": ("--unlike-image",),
}  # what the option of a key is called besides


def run_option(function: F) -> F:
    """`--run DIR` (else $VISUNEX_RUN, else runs/default), passed on as a `RunDir` named `run`."""
    return click.option(
        "--run",
        envvar="VISUNEX_RUN",
        default=str(DEFAULT_RUN),
        show_default=True,
        metavar="DIR",
        help="The run folder, here or in a bucket (s3://BUCKET/FOLDER).",
        callback=lambda _context, _option, value: _run_at(value),
    )(function)


def _run_at(place: str) -> RunDir:
    try:
        return run_at(place)
    except VisunexError as error:  # which is before the command begins, whose errors become sentences
        kind = click.UsageError if isinstance(error, UsageError) else click.ClickException
        raise kind(printable(shown(str(error)))) from None


def engine_options(function: F) -> F:
    """`--engine` and `--ray-address`: where the work is done."""
    for flag, key, kind, said in (
        (
            "--ray-address",
            "address",
            str,
            "The cluster: auto, HOST or HOST:PORT; absent: this machine alone.",
        ),
        (
            "--engine",
            "name",
            click.Choice(["local", "ray"]),
            "On this machine, or on the nodes of a cluster.",
        ),
    ):
        function = click.option(
            flag,
            type=kind,
            metavar="auto|HOST" if key == "address" else None,
            help=f"{said} The recipe's engine.{key}.",
            callback=partial(_remember, f"engine.{key}"),
            expose_value=False,
        )(function)
    return function


def _remember(key: str, context: click.Context, option: click.Parameter, value: Any) -> None:
    if context.get_parameter_source(option.name or "") is not click.core.ParameterSource.DEFAULT:
        context.meta.setdefault(_GIVEN, {})[key] = value


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


def overrides(recipe: "Recipe") -> "list[Override]":
    """What the current command line's options say over `recipe`, each called by its option in messages."""
    from visunex.recipes import Override

    given: dict[str, Any] = click.get_current_context().meta.get(_GIVEN, {})
    patterns = given.get("filter.match", recipe.filter.match) == "regex"
    return [Override(key, _split(key, value, patterns), option_name(key)) for key, value in given.items()]


def option_name(key: str) -> str:
    """The option of a recipe's key: `--min-score` of `filter.min_score`."""
    return "--" + key.rpartition(".")[2].replace("_", "-")


def _split(key: str, value: Any, patterns: bool) -> Any:
    """`--keywords a,b` split at the commas; regular expressions (`patterns`) and sentences keep theirs."""
    from visunex.recipes import split_keywords

    if not isinstance(value, tuple) or key in _WHOLE:
        return value
    whole = patterns and key.startswith("filter.")
    return tuple(part for item in value for part in split_keywords(item, whole=whole))


def _option(section: str, key: str, field: Any) -> Callable[[F], F]:
    flag = option_name(key)
    kind, settings = _click_type(field.annotation)
    return click.option(
        *_ALSO.get(key, ()),
        f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
        type=kind,
        help=_help(field),
        callback=partial(_remember, f"{section}.{key}"),
        expose_value=False,
        default=None,
        **settings,
    )


def _help(field: Any) -> str:
    text = (field.description or "").rstrip(".")
    text = text[:1].upper() + text[1:]
    default = field.get_default(call_default_factory=True)
    shown = default not in (None, (), False, "")
    default = ",".join(default) if isinstance(default, tuple) else default
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
