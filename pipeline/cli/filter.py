"""`visunex-data filter`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from visunex.base.console import Command, proxy_option, show
from visunex.base.errors import UsageError

from ..rundir import RunDir
from .options import option_name, overrides, overwrite_option, run_option, section_options, set_option

if TYPE_CHECKING:
    from visunex.recipes import Recipe

F = TypeVar("F", bound=Callable[..., Any])


def column_options(function: F) -> F:
    """`--url-column NAME`, `--made-url TEMPLATE` and the like: columns that are not recognised."""
    from visunex.recipes.schema import Columns, Made

    for role, field in reversed(Made.model_fields.items()):
        function = click.option(f"--made-{role}", metavar="TEMPLATE", help=field.description)(function)
    for role, field in reversed(Columns.model_fields.items()):
        function = click.option(f"--{role}-column", metavar="NAME", help=field.description)(function)
    return function


@click.command("filter", cls=Command)
@click.argument("sources", metavar="[SOURCE]", nargs=-1)
@click.option("--recipe", "base", metavar="NAME|FILE", help="Start from this recipe instead of the defaults.")
@run_option
@section_options("filter")
@section_options("encode", only=("precomputed", "vector_key", "vector_column", "model", "pretrained"))
@section_options("source", only=("column_names",))
@section_options("download", only=("max_remote_bytes",))
@column_options
@set_option
@overwrite_option
@proxy_option
def command(
    sources: tuple[str, ...],
    base: str | None,
    run: RunDir,
    settings: tuple[str, ...],
    overwrite: bool,
    **columns: str | None,
) -> None:
    """Choose the rows of a data set's metadata by caption, score and size.

    SOURCE is a known name, a parquet file, a folder or a quoted pattern of such, a folder of pictures, a run,
    or an https://, s3:// or hf:// address; without it, LAION's improved_aesthetics_6.5plus. A keyword is
    found anywhere in a caption, whatever its case. The best-scored rows are kept (where there is no score,
    rows drawn by lot), and a reserve behind them: half of the links are dead.

    --like and --like-image rank by what the pictures show instead, where their CLIP vectors are published
    (--precomputed: a folder in clip-retrieval's layout, which may be the SOURCE itself), and those of a run
    or a folder of pictures by their own; --unlike and --unlike-image lead away. --score-with and --max-unsafe
    score the vectors by published predictors, --dedupe-vectors leaves out near copies; without published
    vectors these three wait for encode.

    \b
    Examples:
        visunex-data filter --keywords flower,garden --top 2000
        visunex-data filter 'metadata/*.parquet' --keywords castle --exclude sand --min-score 6.5
        visunex-data filter my.parquet --match word --keywords art --where "WIDTH >= 2 * HEIGHT"
        visunex-data filter my.parquet --like "watercolour flowers" --like-image a.jpg --precomputed DIR
        visunex-data filter my_pictures/ --like "a castle" --unlike night --top 50
        visunex-data filter my.parquet --rank random --seed 1 --max-per host=20
        visunex-data filter --recipe flower_plant --top 500 --run runs/small
    """
    from ..api import filter_in

    named = {option: name for option, name in columns.items() if name is not None}
    report = filter_in(run, _recipe(_one(sources), base, named, settings), overwrite=overwrite)
    show(report.as_dict(), report.as_text())


def _one(sources: tuple[str, ...]) -> str | None:
    if len(sources) > 1:
        raise UsageError(
            f"give one SOURCE, not {len(sources)}: put a pattern in quotes ('metadata/*.parquet'), "
            f"so that the shell leaves it alone, or name the folder"
        )
    return sources[0] if sources else None


def _recipe(
    source: str | None, base: str | None, columns: dict[str, str], settings: tuple[str, ...]
) -> "Recipe":
    """The base recipe with the command line's settings over it."""
    from visunex.recipes import Override, Recipe, load, override

    recipe = load(base) if base else Recipe(name="custom")
    given = overrides(recipe) + [
        Override(_column_key(option), name, option_name(option)) for option, name in columns.items()
    ]
    if source:
        given.append(Override("source.data", source, "SOURCE"))
    return override(recipe, [*given, *settings])


def _column_key(option: str) -> str:
    """The recipe's key of `url_column` or `made_url`."""
    kind, _, role = option.partition("_")
    return f"source.made.{role}" if kind == "made" else f"source.columns.{option.removesuffix('_column')}"
