"""`visunex-data run`."""

from pathlib import Path

import click

from visunex.base.console import proxy_option, show
from visunex.base.folders import RUNS

from ..rundir import RunDir
from .options import overwrite_option, set_option
from .wording import RecipeCommand


@click.command("run", cls=RecipeCommand)
@click.argument("recipe")
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
@overwrite_option
@proxy_option
@set_option
def command(
    recipe: str,
    folder: str | None,
    mirror: str | None,
    discard_images: bool,
    overwrite: bool,
    settings: tuple[str, ...],
) -> None:
    """Filter, download and encode, as a recipe says.

    RECIPE is the name of a shipped recipe or the path of a file. Pictures are encoded while others are still
    fetched. Stopped at any time, the same command goes on from there; nothing that is done is done again.

    \b
    Examples:
        visunex-data run fantasy
        visunex-data run laion_7plus --mirror /data/published
        visunex-data run my_recipe.toml --set filter.top=500 --run runs/small
        visunex-data run my_recipe.toml --discard-images
    """
    from visunex.recipes import Override, load

    from ..api import run_in

    discarding = [Override("encode.discard_images", True, "--discard-images")] if discard_images else []
    loaded = load(recipe, [*settings, *discarding])
    run = RunDir(Path(folder) if folder else RUNS / loaded.name)
    report = run_in(run, loaded, overwrite=overwrite, mirror=mirror)
    show(report.as_dict(), report.as_text())
