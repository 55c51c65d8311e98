"""A stranger's values: each passes the option that it stands for, and together they cost what can be paid."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from visunex.base.errors import first_line

from ..errors import ImageTextError
from .found import Again

__all__ = ["as_options", "check_cost"]

MOST_PIXELS = 1 << 24  # of a batch: 64 pictures of 512x512
MOST_STEPS = 1000  # towards a taste
MOST_LETTERS = 1 << 16  # of a prompt
MOST_TASTES = 16  # at once
MOST_BATCHES = 10_000  # whose noise may have to be drawn before the image's own


def as_options(context: click.Context, path: Path, again: Again, named: Collection[str]) -> dict[str, Any]:
    """The values of an image as the command's own options take them, without those that were `named`.

    Raises ImageTextError for one that its option would not take.
    """
    parameters = {parameter.name: parameter for parameter in context.command.params}
    return {
        name: _checked(context, path, parameters[name], value)
        for name, value in again.options.items()
        if name not in named and (value is not None or parameters[name].get_default(context) is None)
    }


def _checked(context: click.Context, path: Path, parameter: click.Parameter, value: Any) -> Any:
    if value is None:
        return None
    option = max(parameter.opts, key=len)
    try:
        if parameter.multiple:
            if not isinstance(value, tuple) or len(value) > MOST_TASTES:
                raise click.BadParameter("they are too many, or none")
            return parameter.process_value(context, tuple(_text(each, flag=False) for each in value))
        text = _text(value, flag=bool(getattr(parameter, "is_flag", False)))
        return parameter.process_value(context, text)
    except (click.UsageError, ValueError) as error:
        said = error.message if isinstance(error, click.UsageError) else first_line(error)
        raise ImageTextError(
            f"{path} has a value for {option} that the option does not take: {said}; give {option} yourself"
        ) from None


def _text(value: Any, *, flag: bool) -> str | bool:
    """A value as its option reads it. Raises click's BadParameter for one of another type."""
    if isinstance(value, bool) != flag or not isinstance(value, str | int | float):
        raise click.BadParameter("it is of another type")
    if isinstance(value, str) and len(value) > MOST_LETTERS:
        raise click.BadParameter(f"it has more than {MOST_LETTERS} letters")
    return value if isinstance(value, bool) else str(value)


def check_cost(path: Path, options: Mapping[str, Any], again: Again, named: Collection[str]) -> None:
    """Raise ImageTextError where what the image asks for takes memory or time that nobody agreed to."""
    height, width, count = options["height"] or 0, options["width"] or 0, options["n_samples"]
    pixels = count * height * width
    if pixels > MOST_PIXELS and not {"n_samples", "height", "width"} <= {*named}:
        what = f"{count} picture{'s' if count > 1 else ''} of {width}x{height} at once"
        raise _costly(path, what, "--n_samples, --H and --W")
    steps = options["aesthetic_steps"]
    if steps > MOST_STEPS and "aesthetic_steps" not in named:
        raise _costly(path, f"{steps} steps towards a taste", "--aesthetic_steps")
    record = again.record
    if record and (record.batch > MOST_BATCHES or len(record.prompts) > max(record.settings.samples, 1)):
        raise ImageTextError(
            f"{path} says that it is of batch {record.batch} with {len(record.prompts)} prompts, which "
            "cannot be made again; give --prompt and --seed without --from-image"
        )


def _costly(path: Path, what: str, options: str) -> ImageTextError:
    return ImageTextError(
        f"{path} asks for {what}, more than is taken from a picture; give {options} yourself to do it all "
        "the same"
    )
