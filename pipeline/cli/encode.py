"""`visunex-data encode`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visunex.base.console import Command, Output, proxy_option, show
from visunex.base.errors import UsageError

from ..rundir import RunDir
from .options import engine_options, overrides, overwrite_option, run_option, section_options, set_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visunex.recipes import Override, Recipe


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
    "--disliked",
    metavar="PATH",
    help="Pictures that the taste turns away from: short for --reduce contrast --baseline PATH.",
)
@click.option(
    "--ratings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE.csv",
    help="In place of --images: pictures' paths, each with a score. Those above the mean pull, those below "
    "push away (--reduce score-contrast).",
)
@click.option(
    "--image-column", metavar="NAME", help="Of --images whose rows have several pictures, the column to take."
)
@click.option(
    "--out",
    type=Output(),
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
@engine_options
@proxy_option
def command(
    run: RunDir,
    images: tuple[str, ...],
    disliked: str | None,
    ratings: Path | None,
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
        visunex-data encode --images liked/ --disliked disliked/ --out me.pt
        visunex-data encode --ratings stars.csv --out me.pt
        visunex-data encode --images OWNER/NAME?split=test --out set.pt
        visunex-data encode --also ViT-H-14:laion2b_s32b_b79k --also ViT-bigG-14:laion2b_s39b_b160k
        visunex-data encode --precomputed /data/laion2B-en/vectors
        visunex-data encode --reduce contrast --baseline runs/everything
    """
    from visunex.recipes import Override, override

    from ..api import encode_in
    from ..score.ratings import rated

    own = _recipe(run)
    named = [Override("source.columns.image", image_column, "--image-column")] if image_column else []
    if ratings is not None and disliked is not None:
        raise UsageError("--ratings says what is liked and what is not: leave --disliked out")
    given = overrides(own)
    named += _of_dislikes(disliked, given) + _of_ratings(ratings, given)
    recipe = override(own, [*given, *settings, *named])
    is_given = bool(images or ratings or recipe.encode.vectors)
    report = encode_in(
        None if out is not None and not _run_was_named() and is_given else run,
        recipe,
        images=images if ratings is None else rated(ratings, beside=images),
        out=out,
        overwrite=overwrite,
        device=device,
    )
    show(report.as_dict(), report.as_text())


def _of_dislikes(disliked: str | None, given: "Sequence[Override]") -> "list[Override]":
    """What `--disliked` stands for. Raises UsageError beside what contradicts it."""
    from visunex.recipes import Override

    if disliked is None:
        return []
    for each in given:
        if each.key == "encode.baseline" or (each.key == "encode.reduce" and each.value != "contrast"):
            raise UsageError(f"--disliked stands for --reduce contrast --baseline: leave out {each.given_as}")
    return [
        Override("encode.reduce", "contrast", "--disliked"),
        Override("encode.baseline", disliked, "--disliked"),
    ]


def _of_ratings(ratings: Path | None, given: "Sequence[Override]") -> "list[Override]":
    """How rated pictures are reduced, where nothing else is asked for."""
    from visunex.recipes import Override

    if ratings is None or any(each.key == "encode.reduce" for each in given):
        return []
    return [Override("encode.reduce", "score-contrast", "--ratings")]


def _recipe(run: RunDir) -> "Recipe":
    """The run's recipe; pictures from elsewhere need none."""
    from visunex.recipes import Recipe, load

    return load(run.recipe) if run.recipe.exists() else Recipe(name="pictures")


def _run_was_named() -> bool:
    source = click.get_current_context().get_parameter_source("run")
    return source is not click.core.ParameterSource.DEFAULT
