"""What `visunex-data show` shows: the page of a run, or a contact sheet of any pictures."""

import tempfile
from itertools import islice
from pathlib import Path

from visunex.base.errors import UsageError
from visunex.base.folders import expanded
from visunex.images.thumbnails import require_sheet_format, save_sheet

from ..rundir import RunDir, run_named
from ..shards.places import sources
from ..shards.samples import samples
from ..shards.thumbnails import thumbnails_of
from .facts import Facts, RunImage
from .html import write_page

__all__ = ["contact_sheet", "page"]


def page(what: str) -> Path:
    """The page of a run, made anew from its files. Raises UsageError for what is no run."""
    run = run_named(what)
    if run is None:
        there = expanded(what).exists()
        raise UsageError(
            f"{what} is no run: "
            + (
                "for a contact sheet of pictures add --sheet FILE.webp"
                if there
                else "there is no such folder"
            )
        )
    if not run.reports():
        raise UsageError(
            f"nothing was done in {run.path} yet; begin with `visunex-data run --run {run.path}`"
        )
    write_page(run)
    return run.report_page


def contact_sheet(what: str, target: Path, top: int, columns: int | None) -> int:
    """Write a sheet of the best `top` pictures of a run, or the first of a place; how many are on it.

    Raises UsageError for a name that is of no picture format, and where there are no pictures; EncodeError
    for what cannot be read.
    """
    require_sheet_format(target)
    run = run_named(what)
    images, small = _of_run(run, top) if run is not None else _of_place(what, top)
    if not small:
        raise UsageError(f"{what} holds no picture to show")
    save_sheet([small.get(each.where) for each in images], target, columns)
    return len(small)


def _of_run(run: RunDir, top: int) -> tuple[list[RunImage], dict[str, bytes]]:
    facts = Facts(run, run.reports())
    best = list(facts.images[:top])
    return best, facts.thumbnails(best)


def _of_place(what: str, top: int) -> tuple[list[RunImage], dict[str, bytes]]:
    places = sources([what])
    first = [RunImage(each.where) for each in islice(samples(places), top)]
    with tempfile.TemporaryDirectory(prefix="visunex-") as folder:
        return first, thumbnails_of(places, Path(folder), {each.where for each in first})
