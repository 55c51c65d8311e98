"""`visunex-data encode`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visunex.base.console import Command, proxy_option, show

from ..rundir import RunDir
from .options import overrides, overwrite_option, run_option, section_options, set_option

if TYPE_CHECKING:
    from visunex.recipes import Recipe


@click.command("encode", cls=Command)
@run_option
@click.option(
    "--images",
    multiple=True,
    metavar="PATH",
    help="Pictures to encode instead of the run's: a folder, shards, tar, zip, parquet, Arrow, picture, "
    "pattern or run, an https:// or hf:// address of a file with pictures inside, or OWNER/NAME on the Hub; "
    "repeat.",
)
@click.option(
    "--image-column", metavar="NAME", help="Of --images whose rows have several pictures, the column to take."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.pt",
    help="Write the embedding here. With --images and without --run, nothing else is kept.",
)
@click.option(
    "--device", default="auto", show_default=True, help="cuda (all GPUs), cuda:1, cuda:0,cuda:2, mps or cpu."
)
@section_options("encode")
@section_options("filter", only=("dedupe_vectors",))
@section_options("download", only=("max_remote_bytes",))
@set_option
@overwrite_option
@proxy_option
def command(
    run: RunDir,
    images: tuple[str, ...],
    image_column: str | None,
    out: Path | None,
    device: str,
    settings: tuple[str, ...],
    overwrite: bool,
    **_: object,
) -> None:
    """Turn pictures into CLIP vectors, and those into one aesthetic embedding.

    Each encoder of --also has vectors and an embedding of its own, named by its space: beside vectors/ and
    embedding.pt (or FILE.pt) lie vectors-SPACE/ and embedding-SPACE.pt (FILE-SPACE.pt).

    \b
    Example:
        visunex-data encode
        visunex-data encode --reduce mean --model ViT-L-14
        visunex-data encode --images my_pictures/ --out me.pt
        visunex-data encode --images OWNER/NAME?split=test --out set.pt
        visunex-data encode --also ViT-H-14:laion2b_s32b_b79k --also ViT-bigG-14:laion2b_39b_b160k
        visunex-data encode --precomputed /data/laion2B-en/vectors
        visunex-data encode --reduce contrast --baseline runs/everything
    """
    from visunex.recipes import Override, override

    from ..api import encode_in

    own = _recipe(run)
    named = [Override("source.columns.image", image_column, "--image-column")] if image_column else []
    recipe = override(own, [*overrides(own), *settings, *named])
    elsewhere = out is not None and not _run_was_named() and bool(images or recipe.encode.vectors)
    report = encode_in(
        None if elsewhere else run, recipe, images=images, out=out, overwrite=overwrite, device=device
    )
    show(report.as_dict(), report.as_text())


def _recipe(run: RunDir) -> "Recipe":
    """The run's recipe; pictures from elsewhere need none."""
    from visunex.recipes import Recipe, load

    return load(run.recipe) if run.recipe.exists() else Recipe(name="pictures")


def _run_was_named() -> bool:
    source = click.get_current_context().get_parameter_source("run")
    return source is not click.core.ParameterSource.DEFAULT
