"""`visunex-data score`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visunex.base.console import Command, proxy_option, show

from .embeddings import mirror_option

if TYPE_CHECKING:
    from ..score import Predictor, Scores


@click.command("score", cls=Command)
@click.argument("what", metavar="RUN|FOLDER|EMBEDDING")
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
    type=click.Path(path_type=Path),
    metavar="FILE.parquet",
    help="Write the scores here; those of a run are written to scores.parquet in it.",
)
@click.option(
    "--show", "count", type=click.IntRange(0), default=3, show_default=True, help="Rows shown from each end."
)
@click.option("--overwrite", is_flag=True, help="Replace a file at --out that holds no scores.")
@mirror_option
@proxy_option
def command(what: str, names: str, out: Path | None, count: int, overwrite: bool, mirror: str | None) -> None:
    """Score pictures by published aesthetic predictors, from their CLIP ViT-L/14 vectors.

    RUN is a run that was encoded, FOLDER one of vectors in clip-retrieval's layout, EMBEDDING a file, a run's
    name or a published name, whose direction is scored as if it were a picture's. A predictor is fetched once
    and checked by its SHA-256.

    \b
    Example:
        visunex-data score runs/default --with V1,V2,sac
        visunex-data score /data/laion2B-en/vectors --with nsfw --out unsafe.parquet
        visunex-data score fantasy
    """
    from ..score import named
    from ..score.targets import scored

    predictors = named(name.strip() for name in names.split(",") if name.strip())
    scores, run = scored(what, predictors, mirror)
    target = out or (None if run is None else run / "scores.parquet")
    if target is not None:
        scores.write(target, overwrite=overwrite)
    report = _report(what, scores, predictors, count, target)
    show(report, "\n".join(_lines(report)))


def _report(
    what: str, scores: "Scores", predictors: "list[Predictor]", count: int, target: Path | None
) -> dict[str, Any]:
    def of(predictor: "Predictor") -> dict[str, Any]:
        highest, lowest = scores.extremes(predictor.name, min(count, len(scores)))
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


def _row(row: dict[str, Any]) -> str:
    name = row.get("key") or row.get("image_path") or f"row {row['row']:,}"
    about = row.get("caption") or row.get("url") or ""
    return f"{row['score']:8.3f}  {name}  {about[:80]}".rstrip()
