"""What `visunex-data show` shows: the page of a run, or a contact sheet of any pictures."""

import tempfile
from itertools import islice
from math import ceil, sqrt
from pathlib import Path

from visunex.base.errors import UsageError
from visunex.base.files import atomic
from visunex.base.folders import expanded
from visunex.images.thumbnails import sheet, sheet_size

from ..rundir import RunDir, run_named
from ..shards.places import sources
from ..shards.samples import samples
from ..shards.thumbnails import thumbnails_of
from .facts import Facts, RunImage
from .html import write_page

__all__ = ["contact_sheet", "page"]

_LONGEST = {"PNG": 65_500, "WEBP": 16_383, "JPEG": 65_500}  # pixels of a side
_FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}


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
    kind = _FORMATS.get(target.suffix.lower())
    if kind is None:
        raise UsageError(f"--sheet {target}: name a .png, .webp or .jpg")
    run = run_named(what)
    images, small = _of_run(run, top) if run is not None else _of_place(what, top)
    if not small:
        raise UsageError(f"{what} holds no picture to show")
    across = min(columns or ceil(sqrt(len(images))), len(images))
    width, height = sheet_size(len(images), across)
    if max(width, height) > _LONGEST[kind]:
        raise UsageError(
            f"--sheet {target}: {width}x{height} pixels are more than a {target.suffix} holds; give other "
            "--columns, or fewer with --top"
        )
    image = sheet([small.get(each.where) for each in images], across)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as temporary:
        image.save(temporary, kind)
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
