"""`visunex-data curate` and `visunex-data pictures`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visunex.base.console import Command, Output, show
from visunex.base.errors import UsageError

if TYPE_CHECKING:
    from ...curate.take_out import Form, ResizeMode


@click.command("curate", cls=Command)
@click.argument("run", metavar="RUN")
@click.option("--drop", "keys", multiple=True, metavar="KEY,...", help="Drop these pictures, by key; repeat.")
@click.option(
    "--drop-group", "groups", multiple=True, metavar="N,...", help="Drop the pictures of these groups."
)
@click.option("--keep-group", "kept_groups", multiple=True, metavar="N,...", help="Drop those of all others.")
@click.option(
    "--drop-atypical",
    "atypical",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    metavar="SHARE",
    help="Drop this share (0.1: a tenth) of what is left, the least typical pictures.",
)
@click.option("--split", is_flag=True, help="Make an embedding of each group, NAME-0.pt and so on.")
@click.option(
    "--out",
    type=Output(),
    required=True,
    metavar="FILE.pt",
    help="Where the embedding goes; the run stays as it is.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file at --out that is no embedding of ours.")
def command(
    run: str,
    keys: tuple[str, ...],
    groups: tuple[str, ...],
    kept_groups: tuple[str, ...],
    atypical: float,
    split: bool,
    out: Path,
    overwrite: bool,
) -> None:
    """Make a run's embedding anew without some of its pictures.

    RUN is a run's folder or the name of one under runs/. Its vectors are reduced as they were, but those of
    the pictures that are dropped; no picture is read and nothing in the run is changed. What was dropped
    stands in FILE.json. Keys, groups and the least typical pictures are those of the run's report.html.

    \b
    Example:
        visunex-data curate runs/default --drop 0012,0451 --out my_taste.pt
        visunex-data curate runs/default --keep-group 0,1 --drop-atypical 0.1 --out my_taste.pt
        visunex-data curate runs/default --split --out taste.pt
    """
    from ...curate.curation import Dropping, curate

    dropping = Dropping(_keys(keys), _numbers(groups), _numbers(kept_groups), atypical)
    made = curate(run, dropping, out, split=split, overwrite=overwrite)
    show({"embeddings": [each.as_dict() for each in made]}, "\n".join(each.as_text() for each in made))


def _keys(given: tuple[str, ...]) -> tuple[str, ...]:
    """The keys; those of files have a dot, and may have commas."""
    return tuple(
        key.strip() for text in given for key in ([text] if "." in text else text.split(",")) if key.strip()
    )


def _numbers(given: tuple[str, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(number) for text in given for number in text.split(","))
    except ValueError:
        raise UsageError(f"groups are numbers, such as 0,2; not {', '.join(given)}") from None


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
    type=Output(),
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
@click.option(
    "--exemplars",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Only the most typical picture of each of N groups: for models that take reference pictures.",
)
@click.option(
    "--sheet",
    type=Output(),
    metavar="FILE",
    help="Of --exemplars: a contact sheet of them, .png, .webp or .jpg.",
)
def take_out_command(
    what: str,
    form: "Form",
    out: Path,
    shuffle: int | None,
    size: int | None,
    mode: "ResizeMode",
    exemplars: int | None,
    sheet: Path | None,
) -> None:
    """Take the chosen pictures out of a run: as a folder, WebDataset or parquet.

    RUN is a run's folder or the name of one under runs/, of which only the pictures that count are taken,
    with their true endings. PICTURES is whatever `encode --images` reads. Text, score, licence and link go
    with each, so that `load_dataset("imagefolder", data_dir=DIR)` and webdataset read them as they are.

    \b
    Example:
        visunex-data pictures runs/default --out flowers
        visunex-data pictures runs/default --to wds --shuffle 1 --resize 512 --out tars
        visunex-data pictures runs/default --exemplars 4 --out typical --sheet typical.png
    """
    from ...curate.take_out import take_out

    report = take_out(
        what, form, out, shuffle=shuffle, size=size, mode=mode, exemplars=exemplars, sheet=sheet
    )
    show(report.as_dict(), report.as_text())
