"""`visunex-data recipes`."""

from pathlib import Path

import click

from visunex.base.console import Command, Group, Table, show
from visunex.base.errors import VisunexError


@click.group("recipes", cls=Group)
def command() -> None:
    """List, show, check and copy recipes."""


@command.command("list", cls=Command)
def list_() -> None:
    """Name the recipes that come with VisuNex.

    \b
    Example:
        visunex-data recipes list
    """
    from visunex.recipes import find, load, names

    recipes = {name: load(find(name)) for name in names()}
    width = max(map(len, recipes))
    text = "\n".join(f"{name:<{width}}  {recipe.description}" for name, recipe in recipes.items())
    rows = tuple((name, recipe.description) for name, recipe in recipes.items())
    report = {name: {"description": recipe.description} for name, recipe in recipes.items()}
    show(report, text, Table(("recipe", "description"), rows))


@command.command("show", cls=Command)
@click.argument("recipe")
def show_(recipe: str) -> None:
    """Print a recipe, or that of a run folder; with --json, every key and its value.

    \b
    Examples:
        visunex-data recipes show flower_plant
        visunex-data recipes show runs/default --json
    """
    from visunex.recipes import find, load

    loaded = load(recipe)
    show(loaded.model_dump(mode="json"), find(recipe).read_text(encoding="utf-8-sig").rstrip())


@command.command("validate", cls=Command)
@click.argument("files", metavar="RECIPE...", nargs=-1, required=True)
def validate(files: tuple[str, ...]) -> None:
    """Check recipes: every fault of a file at once, with its line.

    Exit status 1 when there is one.

    \b
    Example:
        visunex-data recipes validate my_recipe.toml
    """
    from visunex.recipes import RecipeError, load

    faults = []
    for file in files:
        try:
            load(file)
        except RecipeError as error:
            faults.append(str(error))
    if faults:
        raise RecipeError("\n".join(faults))
    show({"valid": list(files)}, "\n".join(f"{file} is valid" for file in files))


@command.command("copy", cls=Command)
@click.argument("recipe")
@click.argument("to", metavar="[FILE|FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def copy(recipe: str, to: Path | None, overwrite: bool) -> None:
    """Copy a recipe to a file of your own, NAME.toml here unless you say otherwise.

    The copy is called after its file, so that its run has a folder of its own.

    \b
    Example:
        visunex-data recipes copy flower_plant my_recipe.toml
    """
    from visunex.base.files import write_text
    from visunex.recipes import find, load, renamed

    load(recipe)
    origin = find(recipe)
    target = to or Path(f"{load(recipe).name}.toml")
    target = target / origin.name if target.is_dir() else target
    if target.exists() and not overwrite:
        raise VisunexError(f"{target} is there already; --overwrite replaces it")
    write_text(target, renamed(origin.read_text(encoding="utf-8"), target.stem))
    show({"written": str(target)}, f"{target}: change it, then visunex-data run {target}")
