"""A whole run: prompts, settings and tastes -> pictures and a grid on disk."""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from .output.files import Making, Writer, parameters_text, tile
from .output.grid import labelled_grid
from .sampling.sampler import Batch, Sampler, latent_shape
from .settings import Settings
from .taste import Taste

__all__ = ["Cell", "Job", "Report", "run"]

VERSIONS = ("visunex", "torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Cell:
    """One setting of a sweep: a taste (None: no personalisation) and what its column and rows are called."""

    taste: Taste | None
    column: str = ""
    row: str = ""


@dataclass(frozen=True)
class Job:
    """What to make and where. More than one cell is a sweep: the same noise for each, one labelled grid.

    `only` is the number of a batch and the position in it: just that picture of the run is made.
    """

    prompts: str | tuple[str, ...]
    settings: Settings
    cells: tuple[Cell, ...] = (Cell(None),)
    folder: Path = Path("outputs")
    save: bool = True
    grid: bool = True
    per_row: int | None = None
    only: tuple[int, int] | None = None

    @property
    def is_sweep(self) -> bool:
        """Whether several settings are compared."""
        return len(self.cells) > 1


@dataclass
class Report:
    """What a run made and how long its parts took."""

    pictures: int = 0
    flagged: int = 0
    samples: list[str] = field(default_factory=list)
    grids: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class _Made:
    image: Image.Image
    making: Making


# A check of finished pictures: returns them (blacked out where it objects) and how many it objected to.
Check = Callable[[tuple[Image.Image, ...]], tuple[tuple[Image.Image, ...], int]]


def run(
    job: Job,
    sampler: Sampler,
    *,
    check: Check | None = None,
    on_step: Callable[[], None] = lambda: None,
    on_personalise: Callable[[int, float], None] | None = None,
) -> Report:
    """Make the job's pictures. Each is on disk before the next batch begins.

    Raises what `Sampler.sample` and `Writer` raise; pictures already made stay where they are.
    """
    began, report, writer = time.monotonic(), Report(), Writer(job.folder)
    columns: list[list[_Made]] = []
    for cell in job.cells:
        batches = sampler.sample(
            job.prompts,
            job.settings,
            cell.taste,
            on_step=on_step,
            on_personalise=on_personalise,
            only=job.only[0] if job.only else None,
        )
        columns.append([])
        for batch in batches:
            for made in _finished(job, batch, cell.taste, sampler, check, report):
                if job.save:
                    report.samples.append(str(writer.sample(made.image, made.making)))
                columns[-1].append(made)
    if job.grid and columns[0]:
        text = parameters_text(columns[0][0].making)
        report.grids.append(str(writer.grid(_grid(job, columns), text)))
    report.seconds = time.monotonic() - began
    return report


def making_of(
    sampler: Sampler, settings: Settings, taste: Taste | None, batch: Batch, position: int
) -> Making:
    """How the picture at `position` of `batch` was made."""
    model = sampler.model
    _, _, height, width = latent_shape(model, settings)
    return Making(
        prompts=batch.prompts,
        position=position,
        batch=batch.number,
        negative_prompt=settings.negative_prompt,
        seed=settings.seed,
        scheduler=settings.scheduler,
        ddim_steps=settings.steps,
        ddim_eta=settings.eta,
        scale=settings.guidance_scale,
        height=height * model.factor,
        width=width * model.factor,
        n_samples=settings.samples,
        fixed_code=settings.fixed_code,
        rng=settings.rng,
        model=model.name,
        model_fingerprint=model.fingerprint,
        text_encoder="openai" if sampler.conditioner.stock else "model",
        precision=str(model.dtype).removeprefix("torch."),
        device=model.device.type,
        lowvram=model.lowvram,
        aesthetic_embedding=taste.name if taste else None,
        aesthetic_sha256=taste.digest if taste else None,
        aesthetic_steps=taste.steps if taste else 0,
        aesthetic_lr=taste.lr if taste else 0.0,
        versions=versions(),
    )


@cache
def versions() -> dict[str, str]:
    """Versions of what decides about the bits of a picture."""
    ours = {name: importlib.metadata.version(name) for name in VERSIONS}
    return {"python": platform.python_version(), **ours}


def _finished(
    job: Job, batch: Batch, taste: Taste | None, sampler: Sampler, check: Check | None, report: Report
) -> Iterator[_Made]:
    """The pictures of a batch that are wanted, checked, with how each was made."""
    images, flagged = check(batch.images) if check else (batch.images, 0)
    report.flagged += flagged
    for position, image in enumerate(images):
        if job.only is None or job.only[1] == position:
            report.pictures += 1
            yield _Made(image, making_of(sampler, job.settings, taste, batch, position))


def _grid(job: Job, columns: Sequence[Sequence[_Made]]) -> Image.Image:
    if not job.is_sweep:
        return tile([made.image for made in columns[0]], job.per_row or job.settings.samples)
    headings = list(dict.fromkeys(cell.column for cell in job.cells))
    rows, labels = [], []
    by_row = groupby(zip(job.cells, columns, strict=True), key=lambda pair: pair[0].row)
    for row_label, pairs in by_row:
        for across in zip(*(made for _, made in pairs), strict=True):
            rows.append([made.image for made in across])
            labels.append(_label(row_label, across[0].making.prompt, job))
    return labelled_grid(rows, headings, labels)


def _label(row: str, prompt: str, job: Job) -> str:
    """What tells a row from the others: the embedding if several are compared, the prompt if there are
    several."""
    several = not isinstance(job.prompts, str) and len(set(job.prompts)) > 1
    return " · ".join(text for text in (row, prompt if several else "") if text)
