"""A whole run: prompts, settings and tastes -> images and a grid on disk."""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from .best_of import candidates, nearest_of
from .controls import Steering
from .errors import MemoryShortageError, OutputError
from .output.files import Writer
from .output.grid import Grid, labelled_grid, tile
from .output.png_text import ImageRecord, ModelRecord, TasteRecord, choice_of, web_ui_text
from .sampling.memory import enough_memory
from .sampling.sampler import Batch, Sampler
from .sampling.sizes import latent_shape
from .settings import SEEDS, SeedOf, Settings
from .start import Start
from .taste import Taste

__all__ = ["Job", "Report", "Variant", "run"]

LESS = ("--skip_grid", "a smaller --n_samples", "a smaller --H and --W")  # what takes less memory
NO_WORD = "ViT-L-14:openai"  # what a 1x768 is read as that does not say of which CLIP it is
VERSIONS = ("visunex", "torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Variant:
    """One setting of a sweep (None: no personalisation), and what its column and its rows are called."""

    steering: Steering | None
    column: str = ""
    row: str = ""


@dataclass(frozen=True)
class Job:
    """What to make and where. More than one variant is a sweep: the same noise for each, one labelled grid.

    A single prompt fills each batch; several are a list, one image each. `per_row` is of a grid that is no
    sweep's; None is the batch's size. `only` is the number of a batch and the position in it: just that image
    of the run is made. `seed_of` is that of `Sampler.sample`. `best_of` is how many are drawn for each image.
    """

    prompts: str | tuple[str, ...]
    settings: Settings
    variants: tuple[Variant, ...] = (Variant(None),)
    folder: Path = Path("outputs")
    save: bool = True
    grid: bool = True
    per_row: int | None = None
    only: tuple[int, int] | None = None
    seed_of: SeedOf = "image"
    best_of: int = 1
    start: Start | None = None

    @property
    def drawn(self) -> tuple[str | tuple[str, ...], Settings]:
        """The prompts and the settings of all that is drawn, of which not all may be kept."""
        return candidates(self.prompts, self.settings, self.best_of)

    @property
    def distinct_prompts(self) -> tuple[str, ...]:
        """The prompts, each once, in their order."""
        return tuple(dict.fromkeys((self.prompts,) if isinstance(self.prompts, str) else self.prompts))


@dataclass(frozen=True)
class Report:
    """What a run made: the number of images, of those blacked out, the files; and how long it took.

    `spelt` are labels of the grid whose letters no font here has, and what is written there instead.
    `cosines` are, for each image that is the best of several, those of all of them, in the order of drawing.
    """

    images: int
    flagged: int
    samples: tuple[str, ...]
    grids: tuple[str, ...]
    seconds: float
    spelt: Mapping[str, str] = field(default_factory=dict)
    cosines: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, parts: "Sequence[Report]") -> "Report":
        """One report of several runs."""
        return cls(
            images=sum(part.images for part in parts),
            flagged=sum(part.flagged for part in parts),
            samples=tuple(file for part in parts for file in part.samples),
            grids=tuple(file for part in parts for file in part.grids),
            seconds=sum(part.seconds for part in parts),
            spelt={label: spelt for part in parts for label, spelt in part.spelt.items()},
            cosines=tuple(each for part in parts for each in part.cosines),
        )

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "pictures": self.images,
            "flagged": self.flagged,
            "samples": list(self.samples),
            "grids": list(self.grids),
            "seconds": self.seconds,
            **({"best_of": [choice_of(each) for each in self.cosines]} if self.cosines else {}),
        }


@dataclass(frozen=True)
class _Made:
    image: Image.Image
    record: ImageRecord


# The cosines of images to what a steering leads to.
Near = Callable[[Sequence[Image.Image]], Sequence[float]]
# A check of finished images: returns them (blacked out where it objects) and how many it objected to.
Check = Callable[[tuple[Image.Image, ...]], tuple[tuple[Image.Image, ...], int]]


def run(
    job: Job,
    sampler: Sampler,
    *,
    check: Check | None = None,
    near: Callable[[Steering], Near] | None = None,
    on_step: Callable[[], None] = lambda: None,
    on_personalise: Callable[[int, float], None] | None = None,
) -> Report:
    """Make the job's images. Each is on disk before the next batch begins.

    `near` says for a steering how images are compared, where the best of several are kept. `on_step` and
    `on_personalise` are called as by `Sampler.sample`. Raises what that, `near` and `Writer` raise; images
    already made stay where they are.
    """
    began, writer = time.monotonic(), Writer(job.folder)
    with _what_is_kept(job, writer), enough_memory("the run", str(sampler.model.device), *LESS):
        columns, count, flagged, cosines = list[list[_Made]](), 0, 0, list[tuple[float, ...]]()
        for variant in job.variants:
            columns.append([])
            batches = sampler.sample(
                *job.drawn,
                variant.steering,
                on_step=on_step,
                on_personalise=on_personalise,
                only=job.only[0] if job.only else None,
                seed_of=job.seed_of,
                start=job.start,
            )
            drawn = (_wanted(job, batch, variant.steering, sampler) for batch in batches)
            for kept in _best(job, drawn, near, variant.steering):
                made, objections = _checked(kept, check)
                flagged += objections
                _save(job, writer, made)
                count += len(made)
                cosines += [each.record.cosines for each in made if each.record.cosines]
                columns[-1] += made if job.grid else []
        samples = tuple(map(str, writer.written))
        grid = _grid(job, columns) if columns[0] else None
        grids = (str(writer.grid(grid.image, web_ui_text(columns[0][0].record))),) if grid else ()
        spelt = grid.spelt if grid else {}
    return Report(count, flagged, samples, grids, time.monotonic() - began, spelt, tuple(cosines))


def _best(
    job: Job,
    drawn: Iterator[list[_Made]],
    near: Callable[[Steering], Near] | None,
    steering: Steering | None,
) -> Iterator[list[_Made]]:
    """What is kept of each batch: all, or of every `best_of` images the nearest to the tastes."""
    if job.best_of == 1 or near is None or steering is None:
        yield from drawn
        return
    cosines_of = near(steering)
    for chosen in nearest_of(drawn, lambda made: cosines_of([each.image for each in made]), job.best_of):
        yield [replace(made, record=replace(made.record, cosines=found)) for made, found in chosen]


def _checked(made: Sequence[_Made], check: Check | None) -> tuple[list[_Made], int]:
    """The images as a check leaves them, and how many it objected to."""
    if check is None or not made:
        return list(made), 0
    images, objections = check(tuple(each.image for each in made))
    return [replace(each, image=image) for each, image in zip(made, images, strict=True)], objections


def _save(job: Job, writer: Writer, made: Sequence[_Made]) -> None:
    for each in made if job.save else ():
        with _ways_on(job, each.record):
            writer.sample(each.image, each.record)


@contextmanager
def _what_is_kept(job: Job, writer: Writer) -> Iterator[None]:
    """Say in an error of memory what was drawn before, and how the run goes on."""
    try:
        yield
    except MemoryShortageError as error:
        if not (count := len(writer.written)):
            raise
        way = (
            f", --seed {(job.settings.seed + count * job.best_of) % SEEDS} goes on" if _counts_up(job) else ""
        )
        kept = f"{count} picture{'s' if count > 1 else ''} in {job.folder}"
        raise MemoryShortageError(
            f"{error}; {kept} from before {'are' if count > 1 else 'is'} kept{way}"
        ) from None


def _counts_up(job: Job) -> bool:
    """Whether the seeds of a run's images follow one another."""
    simple = isinstance(job.prompts, str) and len(job.variants) == 1 and job.only is None
    return simple and job.seed_of == "image" and not job.settings.fixed_code


@contextmanager
def _ways_on(job: Job, record: ImageRecord) -> Iterator[None]:
    """Say in an error of writing how the run goes on: its images have seeds that follow one another."""
    try:
        yield
    except OutputError as error:
        if _counts_up(job):
            drawn = record.cosines.index(max(record.cosines)) if record.cosines else 0  # before it, for it
            seed = (record.seed - drawn) % SEEDS
            raise OutputError(f"{error}; --seed {seed} begins with the picture that was not") from None
        raise


def _wanted(job: Job, batch: Batch, steering: Steering | None, sampler: Sampler) -> list[_Made]:
    """The images of a batch that the job is about, with how each was made."""
    own_seed = job.seed_of == "image"
    return [
        _Made(
            image,
            replace(
                record_of(sampler, job.settings, steering, batch, position, job.start), own_seed=own_seed
            ),
        )
        for position, image in enumerate(batch.images)
        if job.only is None or job.only[1] == position
    ]


def record_of(
    sampler: Sampler,
    settings: Settings,
    steering: Steering | None,
    batch: Batch,
    position: int,
    start: Start | None = None,
) -> ImageRecord:
    """How the image at `position` of `batch` was made."""
    model = sampler.model
    _, _, height, width = latent_shape(model, settings)
    return ImageRecord(
        prompts=batch.prompts,
        position=position,
        batch=batch.number,
        settings=replace(settings, height=height * model.factor, width=width * model.factor, iterations=1),
        model=ModelRecord(
            name=model.name,
            fingerprint=model.fingerprint,
            text_encoder=sampler.conditioner.text_encoder,
            precision=str(model.dtype).removeprefix("torch."),
            device=model.device.type,
            lowvram=model.lowvram,
        ),
        tastes=tuple(_taste_record(*pair) for pair in steering.tastes) if steering else (),
        controls=steering.controls if steering else None,
        method=steering.method if steering else "steer",
        climbs=batch.climbs[position] if batch.climbs else (),
        start=start.record if start else None,
        versions=versions(),
        additions=model.additions,
    )


def _taste_record(taste: Taste, weight: float) -> TasteRecord:
    return TasteRecord(
        name=taste.name,
        sha256=taste.digest,
        steps=taste.steps,
        lr=taste.lr,
        path=taste.path,
        weight=weight,
        space=_named_space(taste),
    )


def _named_space(taste: Taste) -> str | None:
    """The space of a taste as `--aesthetic_space` takes it; None for what is read without being named."""
    space = taste.space
    named = f"{space.name}:{space.pretrained}" if space and space.pretrained else None
    return None if named == NO_WORD else named


@cache
def versions() -> dict[str, str]:
    """Versions of what decides about the bits of an image."""
    ours = {name: importlib.metadata.version(name) for name in VERSIONS}
    return {"python": platform.python_version(), **ours}


def _grid(job: Job, columns: Sequence[Sequence[_Made]]) -> Grid:
    """The grid of the images in `columns`, one for each variant."""
    if len(job.variants) > 1:
        return _sweep_grid(job, columns)
    return Grid(tile([made.image for made in columns[0]], job.per_row or job.settings.samples))


def _sweep_grid(job: Job, columns: Sequence[Sequence[_Made]]) -> Grid:
    by_row = [
        list(pairs)
        for _, pairs in groupby(zip(job.variants, columns, strict=True), key=lambda pair: pair[0].row)
    ]
    headings = [variant.column for variant, _ in by_row[0]]
    rows, labels = [], []
    for pairs in by_row:
        for across in zip(*(made for _, made in pairs), strict=True):
            rows.append([made.image for made in across])
            labels.append(_label(pairs[0][0].row, across[0].record.prompt, job))
    return labelled_grid(rows, headings, labels)


def _label(row: str, prompt: str, job: Job) -> str:
    """What tells a row from the others: its embedding and its prompt, where there are several of these."""
    several = len(job.distinct_prompts) > 1
    return " · ".join(text for text in (row, prompt if several else "") if text)
