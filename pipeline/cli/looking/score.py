"""`visunex-data score`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visunex.base.console import Command, Output, show
from visunex.base.errors import UsageError
from visunex.base.folders import expanded

from ..options import option_name, overrides
from .encoding import encoding_options

if TYPE_CHECKING:
    from visunex.recipes import Recipe

    from ...score import Predictor, Scores


@click.command("score", cls=Command)
@click.argument("what", metavar="RUN|VECTORS|EMBEDDING|PICTURES")
@click.option(
    "--with",
    "names",
    default="V2",
    show_default=True,
    metavar="NAME,...",
    help="Predictors: V1 and V2 of LAION, sac, and nsfw, where low is good.",
)
@click.option(
    "--out",
    type=Output(),
    metavar="FILE.parquet",
    help="Write the scores here; those of a run are written to scores.parquet in it.",
)
@click.option(
    "--show", "count", type=click.IntRange(0), default=3, show_default=True, help="Rows shown from each end."
)
@click.option("--overwrite", is_flag=True, help="Replace a file at --out that holds no scores.")
@encoding_options
def command(
    what: str,
    names: str,
    out: Path | None,
    count: int,
    overwrite: bool,
    image_column: str | None,
    device: str,
    mirror: str | None,
) -> None:
    """Score pictures by published aesthetic predictors, from their CLIP ViT-L/14 vectors.

    RUN is a run that was encoded, VECTORS a folder in clip-retrieval's layout, EMBEDDING a file, a run's
    name or a published name, whose direction is scored as if it were a picture's. PICTURES are what `encode
    --images` takes: a folder, file, pattern or address; they are encoded first, and their vectors are not
    kept (`encode --images --run` keeps them). A predictor is fetched once and checked by its SHA-256.

    \b
    Example:
        visunex-data score runs/default --with V1,V2,sac
        visunex-data score /data/laion2B-en/vectors --with nsfw --out unsafe.parquet
        visunex-data score fantasy
        visunex-data score my_pictures/ --with V2,nsfw --out scores.parquet
    """
    from ...rundir import here
    from ...score import named
    from ...score.folder import require_writable
    from ...score.targets import means_images, scored

    what = here(what)
    predictors = named(name.strip() for name in names.split(",") if name.strip())
    if out is not None:
        require_writable(out, overwrite=overwrite)  # before the work, not after it
    encoded: dict[str, Any] | None = None
    if means_images(what):
        scores, encoded = _of_images(what, predictors, _recipe(predictors, image_column), device, mirror)
        run = None
    else:
        require_no_encoder(what)
        scores, run = scored(what, predictors, mirror)
    target = out or (None if run is None else run / "scores.parquet")
    if target is not None:
        scores.write(target, overwrite=overwrite)
    report = _report(what, scores, predictors, count, target)
    if encoded is not None:
        report["pictures"] = encoded
    show(report, "\n".join(_lines(report)))


def _recipe(predictors: "Sequence[Predictor]", image_column: str | None) -> "Recipe":
    """How pictures are encoded: by the first predictor's own encoder, unless options say otherwise."""
    from visunex.recipes import Override, Recipe, override
    from visunex.recipes.schema import Encode

    model, pretrained = predictors[0].model
    own = Recipe(name="pictures", encode=Encode(model=model, pretrained=pretrained))
    columns = [Override("source.columns.image", image_column, "--image-column")] if image_column else []
    return override(own, [*overrides(own), *columns])


def _of_images(
    what: str, predictors: "Sequence[Predictor]", recipe: "Recipe", device: str, mirror: str | None
) -> "tuple[Scores, dict[str, Any]]":
    """The scores of pictures, and what became of each; their vectors lie on the disk until the command ends.

    That a predictor can be had, and is for the encoder's vectors, is seen before anything is encoded.
    """
    from ...encode import encode_to
    from ...score.folder import score_folder
    from ...score.targets import encoder_for
    from ...vectors.store import read_vectors

    settings = recipe.encode
    encoder = encoder_for(what, settings.model, settings.pretrained, predictors, mirror)
    place = what if "://" in what else str(expanded(what))
    temporary = tempfile.TemporaryDirectory(prefix="visunex-")
    folder = Path(click.get_current_context().with_resource(temporary))
    counts = encode_to(folder, [place], recipe, device)
    scores = score_folder(read_vectors(folder), predictors, mirror)
    return scores, {"encoder": encoder, **counts.as_dict()}


def require_no_encoder(what: str) -> None:
    """Raise UsageError for options that say how pictures are encoded, where there is nothing to encode."""
    from visunex.recipes import Recipe

    context = click.get_current_context()
    own = [name for name in ("device", "image_column") if _was_given(context, name)]
    given = [*map(option_name, own), *(each.given_as for each in overrides(Recipe(name="pictures")))]
    if given:
        raise UsageError(f"{given[0]} is for pictures that are still to be encoded, and {what} names none")


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def _report(
    what: str, scores: "Scores", predictors: "list[Predictor]", count: int, target: Path | None
) -> dict[str, Any]:
    extremes = scores.extremes(count)

    def of(predictor: "Predictor") -> dict[str, Any]:
        highest, lowest = extremes[predictor.name]
        about = {"scale": predictor.scale, "license": predictor.license, "sha256": predictor.sha256}
        return {**about, **scores.summary(predictor.name), "highest_rows": highest, "lowest_rows": lowest}

    return {
        "source": what,
        "vectors": len(scores),
        "dropped": list(scores.dropped),
        "scores": {predictor.name: of(predictor) for predictor in predictors},
        "written": None if target is None else str(target),
    }


def _lines(report: dict[str, Any]) -> list[str]:
    count = report["vectors"]
    lines = [f"{report['source']}: {count:,} vector{'s' * (count != 1)}"]
    if encoded := report.get("pictures"):
        lines += lines_of_encoding(encoded)
    if report["dropped"]:
        lines.append(f"  left out, zero or not finite: {len(report['dropped']):,}")
    for name, each in report["scores"].items():
        if count == 1:
            lines.append(f"{name:<5} {each['mean']:8.3f}   ({each['scale']})")
            continue
        lines.append(
            f"{name:<5} mean {each['mean']:.3f}, median {each['median']:.3f}, half of them "
            f"{each['quarter']:.3f} to {each['three_quarters']:.3f}, all {each['lowest']:.3f} to "
            f"{each['highest']:.3f}   ({each['scale']})"
        )
        lines += [f"  highest {_row(row)}" for row in each["highest_rows"]]
        lines += [f"  lowest  {_row(row)}" for row in each["lowest_rows"]]
    return [*lines, f"written to {report['written']}"] if report["written"] else lines


def lines_of_encoding(encoded: dict[str, Any]) -> list[str]:
    """What a person is told of pictures that were encoded for a command, by an `encoder`."""
    from ...encode.reports import outcome_lines

    line = f"  {encoded['encoded']:,} of {encoded['images']:,} pictures encoded with {encoded['encoder']}"
    counts = {name: encoded[name] for name in ("failed", "examples", "left_out", "damaged")}
    return [line, *outcome_lines(**counts)]


def _row(row: dict[str, Any]) -> str:
    name = row.get("key") or row.get("image_path") or f"row {row['row']:,}"
    about = row.get("caption") or row.get("url") or ""
    return f"{row['score']:8.3f}  {name}  {about[:80]}".rstrip()
