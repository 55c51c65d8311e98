"""`visunex-data show`."""

import os
import sys
import webbrowser
from pathlib import Path

import click

from visunex.base.console import Command, Output, show
from visunex.base.text import is_terminal


@click.command("show", cls=Command)
@click.argument("what", metavar="RUN|PICTURES")
@click.option(
    "--sheet",
    "target",
    type=Output(),
    metavar="FILE",
    help="Write one contact sheet of the best pictures here: .png, .webp or .jpg.",
)
@click.option("--top", type=click.IntRange(1, 4000), default=100, show_default=True, help="Pictures on it.")
@click.option("--columns", type=click.IntRange(1, 100), help="Pictures in a row of it.  [default: a square]")
@click.option("--open/--no-open", "opens", default=None, help="Open the page in a browser, or only name it.")
def command(what: str, target: Path | None, top: int, columns: int | None, opens: bool | None) -> None:
    """Make the page of a run, report.html, and open it; or a contact sheet of any pictures.

    RUN is a run's folder or the name of one under runs/. PICTURES is whatever `encode --images` reads: a
    folder, shards, a tar, a zip, a parquet file.

    \b
    Example:
        visunex-data show runs/default
        visunex-data show runs/default --sheet best.png --top 100
        visunex-data show ~/pictures --sheet all.webp
    """
    from ...report.shown import contact_sheet, page

    if target is not None:
        count = contact_sheet(what, target, top, columns)
        show({"sheet": str(target), "pictures": count}, f"{target}: {count:,} picture{'s' * (count != 1)}")
        return
    path = page(what)
    show({"page": str(path)}, str(path))
    if opens or (opens is None and _can_show()):
        webbrowser.open(path.absolute().as_uri())


def _can_show() -> bool:
    """Whether a person sits before a screen: never open a browser from a script, or far away."""
    has_screen = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_screen and is_terminal(sys.stdout) and not os.environ.get("SSH_CONNECTION")
