"""`visunex-data rank`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visunex.base.console import Command, Output, show
from visunex.base.errors import UsageError

from ..options import overrides
from .encoding import encoding_options
from .score import lines_of_encoding, require_no_encoder

if TYPE_CHECKING:
    from ...curate.placing import How
    from ...curate.rank import Ranking

_folder = click.Path(path_type=Path)
_SHOWN = 20  # rows that a person is shown


@click.command("rank", cls=Command)
@click.argument("what", metavar="RUN|VECTORS|PICTURES")
@click.option("--by", required=True, metavar="EMBEDDING", help="A file, a run, or a published name.")
@click.option(
    "--top",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="How many of the nearest pictures are wanted.",
)
@click.option("--copy", type=_folder, metavar="DIR", help="Copy them to a new folder, the nearest first.")
@click.option("--link", type=_folder, metavar="DIR", help="Link to them from a new folder.")
@click.option("--move", type=_folder, metavar="DIR", help="Move them to a new folder.")
@click.option("--out", type=Output(), metavar="FILE", help="Write the table here: .csv or .parquet.")
@click.option("--sheet", type=Output(), metavar="FILE", help="Write a contact sheet: .png, .webp or .jpg.")
@click.option("--columns", type=click.IntRange(1, 100), help="Pictures in a row of it.  [default: a square]")
@click.option("--overwrite", is_flag=True, help="Replace a file at --out.")
@encoding_options
def command(
    what: str,
    by: str,
    top: int,
    copy: Path | None,
    link: Path | None,
    move: Path | None,
    out: Path | None,
    sheet: Path | None,
    columns: int | None,
    overwrite: bool,
    image_column: str | None,
    device: str,
    mirror: str | None,
) -> None:
    """Order pictures by how near they lie to an embedding, whoever made them.

    PICTURES are what `encode --images` takes: a folder, shards, a file, a pattern, an address. They are
    encoded by the encoder that the embedding is of, and their vectors are not kept; of a RUN that was encoded
    its own are taken, VECTORS are a folder in clip-retrieval's layout. The order is that of the cosines.

    \b
    Example:
        visunex-data rank drawn/ --by my_taste.pt --top 20 --copy best
        visunex-data rank drawn/ --by fantasy --sheet best.png --out order.csv
        visunex-data rank runs/default --by flower_plant --json
    """
    from visunex.recipes import Override, Recipe

    from ...curate.rank import rank
    from ...curate.ranked import Wanted
    from ...rundir import here
    from ...score.targets import means_images

    what = here(what)
    places: dict[How, Path | None] = {"copy": copy, "link": link, "move": move}
    given = {how: folder for how, folder in places.items() if folder is not None}
    if len(given) > 1:
        raise UsageError("--copy, --link and --move exclude one another")
    wanted = Wanted(next(iter(given.items()), None), out, sheet, columns, overwrite)
    wanted.require_sense(what, top, image_column)
    if not means_images(what):
        require_no_encoder(what)
    named = [Override("source.columns.image", image_column, "--image-column")] if image_column else []
    settings = [*overrides(Recipe(name="pictures")), *named]
    found = rank(what, by, top, settings, device=device, mirror=mirror)
    made = wanted.make(what, found.rows, image_column)
    report = _report(what, by, found) | made
    show(report, "\n".join(_lines(report, found)))


def _report(what: str, by: str, found: "Ranking") -> dict[str, Any]:
    encoded = None if found.counts is None else {"encoder": found.space, **found.counts.as_dict()}
    return {
        "source": what,
        "by": by,
        "space": found.space,
        "assumed": found.assumed,
        "vectors": found.vectors,
        "dropped": list(found.dropped),
        "pictures": encoded,
        "rows": found.rows,
    }


def _lines(report: dict[str, Any], found: "Ranking") -> list[str]:
    count = report["vectors"]
    lines = [f"{report['source']}: {count:,} picture{'s' * (count != 1)} by {report['by']} ({found.space})"]
    if found.assumed:
        lines.append(f"  nothing says which CLIP {report['by']} is of: taken as this one's")
    if report["pictures"]:
        lines += lines_of_encoding(report["pictures"])
    if found.dropped:
        lines.append(f"  left out, zero or not finite: {len(found.dropped):,}")
    lines += [f"{row['rank']:>6}  {row['cosine']:7.4f}  {_name(row)}" for row in report["rows"][:_SHOWN]]
    if (more := len(report["rows"]) - _SHOWN) > 0:
        lines.append(f"        and {more:,} more (--json, --out FILE.csv)")
    return lines + _made_lines(report)


def _made_lines(report: dict[str, Any]) -> list[str]:
    lines = []
    if placed := report["placed"]:
        done = {"copy": "copied", "link": "linked", "move": "moved"}[placed["how"]]
        lines.append(f"{placed['pictures']:,} {done} to {placed['folder']}")
        lines += [f"  {placed['failed']:,} could not be read"] if placed["failed"] else []
    return [*lines, *(f"written to {report[name]}" for name in ("sheet", "out") if report[name])]


def _name(row: dict[str, Any]) -> str:
    name = row["image_path"] or row["key"] or f"picture {row['rank']:,}"
    about = (row["caption"] or row["url"] or "").replace("\n", " ")
    return f"{name}  {about[:80]}".rstrip()
