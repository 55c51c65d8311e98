"""What stands on the page, section by section, as plain values for the template."""

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..rundir import RunDir
from .asked import asked
from .facts import Facts, section_of
from .gallery import Gallery, Sheet
from .grouping import grouped, separation_of
from .numbers import convergence, histogram
from .plots import convergence_plot, histogram_plot
from .sheets import data_address, smaller
from .tables import ABOUT, Bar, funnel, tables

__all__ = ["Page", "page_of"]

_GRIDS, _LARGEST_GRID = 2, 64 * 1024**2  # grids shown, and bytes of a file of one


@dataclass(frozen=True)
class Page:
    """All that stands on the page.

    `plots` are titles, sentences and SVG; `grids` paths and addresses that hold them; `usage` where the
    embedding is used and a line to copy; `figures` what the stages reported.
    """

    title: str
    date: str
    asked: Sequence[str]
    versions: str
    funnel: Sequence[Bar]
    tables: Mapping[str, Sequence[Bar]]
    about_tables: Mapping[str, str]
    plots: Sequence[tuple[str, str, str]]
    sheets: Sequence[Sheet]
    groups: Sequence[Sheet]
    separation: str
    all_sheets: Sequence[str]
    grids: Sequence[tuple[str, str]]
    usage: Sequence[tuple[str, str]]
    figures: Mapping[str, Mapping[str, Any]]


def page_of(run: RunDir, reports: Mapping[str, Mapping[str, Any]]) -> Page:
    """The page of a run, from its files; contact sheets are written on the way."""
    facts = Facts(run, reports)
    groups = grouped(facts)
    shown = Gallery(facts)
    found = {title: bars for title, bars in tables(facts).items() if bars}
    return Page(
        title=run.path.name,
        date=_date(run),
        asked=asked(
            facts.recipe,
            facts.provenance,
            drawn=section_of(reports, "filter").get("ranked_by") == "random",
        ),
        versions=", ".join(
            f"{name} {each}" for name, each in section_of(facts.provenance, "libraries").items()
        ),
        funnel=funnel(reports),
        tables=found,
        about_tables={title: ABOUT.get(title, "") for title in found},
        plots=[*_score_plot(facts), *_convergence(facts)],
        sheets=[each for each in shown.sheets() if each.cards],
        groups=shown.groups(groups),
        separation=separation_of(groups),
        all_sheets=shown.all_sheets(),
        grids=_grids(run),
        usage=_usage(run) if run.embedding.exists() else [],
        figures=reports,
    )


def _score_plot(facts: Facts) -> list[tuple[str, str, str]]:
    shown = histogram(facts.column("score"), facts.column("score", chosen=True))
    if shown is None or len(shown.edges) < 3:
        return []
    about = "All candidates by score, and before them in the stronger colour the pictures chosen."
    return [("Scores", about, histogram_plot(shown, "histogram of scores"))]


def _convergence(facts: Facts) -> list[tuple[str, str, str]]:
    shown = convergence(facts.units)
    if shown is None:
        return []
    enough = (
        f"{shown.enough:,} pictures would have done: from there on the mean of any so many has a cosine of "
        "0.99 and more to that of all (95 % of draws)."
        if shown.enough is not None and shown.enough < shown.counts[-1]
        else f"More pictures would still move it: the mean of any other {shown.counts[-1]:,} like these may "
        f"have a cosine of as little as {shown.low[-1]:.3f} to this one."
    )
    about = f"{enough} The line is the mean of the best n pictures, the band that of any n, drawn anew."
    return [("How soon the mean settles", about, convergence_plot(shown, "cosine over number of pictures"))]


def _grids(run: RunDir) -> list[tuple[str, str]]:
    """Grids that `visunex-generate` drew into the run's folder: their paths, and addresses that hold them."""
    found = []
    for path in sorted(run.path.glob("*/grid-*.png"))[-_GRIDS:]:
        with contextlib.suppress(OSError, ValueError, MemoryError):
            if path.stat().st_size <= _LARGEST_GRID:
                found.append((str(path.relative_to(run.path)), data_address(smaller(path))))
    return found


def _usage(run: RunDir) -> list[tuple[str, str]]:
    """Where the embedding is used, and lines to copy; docs/use-elsewhere.md has the settings."""
    path, name = shlex.quote(str(run.embedding)), shlex.quote(f"{run.path.name}.pt")
    return [
        (
            "Here",
            f'visunex-generate --aesthetic_embedding {path} --prompt "a castle" --sweep-steps 0,5,10,20',
        ),
        (
            "Web UI, ComfyUI, InvokeAI: a LoRA that does the same to every prompt",
            f"visunex-export {path} --to lora --out {shlex.quote(f'{run.path.name}.safetensors')}",
        ),
        (
            "diffusers",
            "from visunex.generate import Taste, steered\n"
            f'pipe(**steered(pipe, "a castle", Taste.load({str(run.embedding)!r}, steps=10))).images[0]',
        ),
        (
            "Stable Diffusion web UI, with the aesthetic-gradients extension",
            f"cp {path} stable-diffusion-webui/extensions/stable-diffusion-webui-aesthetic-gradients/"
            f"aesthetic_embeddings/{name}",
        ),
    ]


def _date(run: RunDir) -> str:
    """When the embedding, or what there is of the run, was last written."""
    paths: list[Path] = [path for path in (run.provenance, run.report) if path.exists()]
    with contextlib.suppress(OSError, IndexError):
        return datetime.fromtimestamp(paths[0].stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return ""
