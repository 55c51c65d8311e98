"""`visunex-data pictures`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visunex.base.console import Command, show

if TYPE_CHECKING:
    from ..curate.take_out import Form, ResizeMode


@click.command("pictures", cls=Command)
@click.argument("what", metavar="RUN|PICTURES")
@click.option(
    "--to",
    "form",
    type=click.Choice(["folder", "wds", "parquet"]),
    default="folder",
    show_default=True,
    help="A folder with metadata.jsonl, tars of WebDataset, or parquet with the pictures inside.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where to: a folder that is new or empty.",
)
@click.option("--shuffle", type=int, metavar="SEED", help="In an order drawn by lot.  [default: best first]")
@click.option(
    "--resize",
    "size",
    type=click.IntRange(1, 65_500),
    metavar="PIXELS",
    help="As JPEG of this size, never larger.  [default: the bytes that the run has]",
)
@click.option(
    "--resize-mode",
    "mode",
    type=click.Choice(["shortest", "longest", "center-crop"]),
    default="shortest",
    show_default=True,
    help="What becomes so large: the shorter or longer side, or the square in the middle.",
)
def command(
    what: str, form: "Form", out: Path, shuffle: int | None, size: int | None, mode: "ResizeMode"
) -> None:
    """Take the chosen pictures out of a run: as a folder, WebDataset or parquet.

    RUN is a run's folder or the name of one under runs/, of which only the pictures that count are taken,
    with their true endings. PICTURES is whatever `encode --images` reads. Text, score, licence and link go
    with each, so that `load_dataset("imagefolder", data_dir=DIR)` and webdataset read them as they are.

    \b
    Example:
        visunex-data pictures runs/default --out flowers
        visunex-data pictures runs/default --to wds --shuffle 1 --resize 512 --out tars
    """
    from ..curate.take_out import take_out

    report = take_out(what, form, out, shuffle=shuffle, size=size, mode=mode)
    show(report.as_dict(), report.as_text())
