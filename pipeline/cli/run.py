"""`visunex-data run`."""

from typing import TYPE_CHECKING

import click

from visunex.base.console import proxy_option, show
from visunex.base.errors import UsageError
from visunex.base.folders import RUNS
from visunex.base.suggest import did_you_mean

from ..rundir import RunDir, run_at
from .options import engine_options, overrides, overwrite_option, section_options, set_option
from .wording import RecipeCommand

if TYPE_CHECKING:
    from visunex.recipes import Override, Recipe


@click.command("run", cls=RecipeCommand)
@click.argument("recipe", required=False)
@click.option(
    "--run",
    "folder",
    envvar="VISUNEX_RUN",
    metavar="DIR",
    help="The run folder.  [default: runs/NAME, after the recipe]",
)
@click.option(
    "--mirror",
    envvar="VISUNEX_MIRROR",
    metavar="DIR|URL",
    help="Where published embeddings and vectors lie, in place of their own addresses.",
)
@click.option(
    "--discard-images",
    is_flag=True,
    help="Keep no picture once its vector is written; the recipe's encode.discard_images.",
)
@click.option(
    "--with-pictures",
    "with_images",
    is_flag=True,
    help="Fetch the pictures also where their vectors are published; the recipe's download.with_images.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="MODEL:WEIGHTS",
    help="Encode with this one too, in the same pass: vectors and an embedding of its own; repeat. The "
    "recipe's encode.also.",
)
@section_options("filter", only=("keywords", "min_score", "top"))
@section_options("encode", only=("hold_out",))
@overwrite_option
@engine_options
@proxy_option
@set_option
def command(
    recipe: str | None,
    folder: str | None,
    mirror: str | None,
    discard_images: bool,
    with_images: bool,
    also: tuple[str, ...],
    overwrite: bool,
    settings: tuple[str, ...],
) -> None:
    """Filter, download and encode, as a recipe says.

    RECIPE is the name of a shipped recipe or the path of a file. Pictures are encoded while others are still
    fetched; where they are chosen by published vectors none is needed, nor fetched without --with-pictures.
    Stopped at any time, the same command goes on from there; nothing that is done is done again. Without
    RECIPE the run in DIR goes on as it was started, whatever has become of its recipe's file.

    A recipe's commonest settings are options here, and --set sets any other (`recipes show NAME` lists them).
    A run that is asked for more keeps what it has and takes what is missing.

    \b
    Examples:
        visunex-data run fantasy
        visunex-data run laion_7plus --mirror /data/published
        visunex-data run my_recipe.toml --top 500 --set encode.reduce=median --run runs/small
        visunex-data run my_recipe.toml --discard-images
        visunex-data run pd_flowers --with-pictures
        visunex-data run my_recipe.toml --also ViT-H-14:laion2b_s32b_b79k
        visunex-data run --run runs/small
        visunex-data run --run runs/small --top 1000
    """
    from visunex.recipes import Override

    from ..api import run_in

    flags = [Override("encode.discard_images", True, "--discard-images")] if discard_images else []
    flags += [Override("download.with_images", True, "--with-pictures")] if with_images else []
    flags += [Override("encode.also", list(also), "--also")] if also else []
    if recipe is None:
        begun = _begun(folder)
        recipe, mirror = str(begun.recipe), mirror or begun.mirror
    loaded = _with_options(recipe, [*settings, *flags])
    run = run_at(folder or RUNS / loaded.name)
    report = run_in(run, loaded, overwrite=overwrite, mirror=mirror)
    show(report.as_dict(), report.as_text())


def _with_options(recipe: str, given: "list[str | Override]") -> "Recipe":
    """The recipe with what is `given`, and the options; its own `match` says whether keywords are split."""
    from visunex.recipes import Recipe, load

    first = load(recipe, [*given, *overrides(Recipe(name="any"))])
    return load(recipe, [*given, *overrides(first)])


def _begun(folder: str | None) -> RunDir:
    """The run that goes on by its folder alone. Raises UsageError, saying what to type."""
    from visunex.recipes import names

    if folder is None:
        raise UsageError(
            f"name a recipe, as in `visunex-data run flower_plant` (there are {', '.join(names())}, or your "
            "own file), or the folder of a run to go on with: `visunex-data run --run DIR`"
        )
    run = run_at(folder)
    if not run.recipe.exists():
        begun = [str(path.parent) for path in sorted(run.path.parent.glob("*/recipe.toml"))]
        raise UsageError(
            f"there is no {run.recipe}, so nothing says what to run there: {did_you_mean(folder, begun)}"
            f"name a recipe too, as in `visunex-data run flower_plant --run {folder}`"
        )
    return run
