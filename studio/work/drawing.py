"""What is asked for on the page -> the command's own arguments, and the pictures that it would draw."""

import queue
import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visunex.base.console import quiet_libraries
from visunex.base.errors import UsageError, VisunexError
from visunex.generate.command.options import generate_options
from visunex.generate.command.request import Options, additions_of, fitting, job_of, seeded
from visunex.generate.output.files import SAMPLES
from visunex.generate.taste import LR, STEPS

from .places import Places

if TYPE_CHECKING:
    from visunex.generate.job import Job, Variant
    from visunex.generate.sampling.sampler import Sampler

__all__ = ["Artist", "Drawn", "Form", "Progress", "arguments", "command_line", "options_of"]

_PAUSE = 0.12  # seconds between two looks at how far it is
_PROGRAM = "visunex-generate"


@dataclass(frozen=True, kw_only=True)
class Form:
    """What is asked for; an empty text, and None, leave it to the command.

    With a `taste` the untouched picture is drawn too, over the same noise, or one for each number of steps in
    `sweep` (0,5,10) or of `weights` (0,0.5,1). `weighted` prompts are read as the web UI reads them.
    `further` tastes are NAME=WEIGHT, separated by commas; the rest are the command's options for a taste's
    use, for a picture to draw over, and its mask. `loras` (FILE:SCALE) and `words`, files of textual
    inversions, are separated by commas, too.
    """

    prompt: str = ""
    negative: str = ""
    weighted: bool = False
    model: str = ""
    taste: str = ""
    steps: int = STEPS
    lr: float = LR
    sweep: str = ""
    weights: str = ""
    further: str = ""
    until: str = ""
    weight: float = 1.0
    slerp: bool = False
    text: str = ""
    away: bool = False
    angle: float = 0.1
    begin: float = 0.0
    end: float = 1.0
    clip_skip: int = 1
    best_of: int = 1
    loras: str = ""
    words: str = ""
    vae: str = ""
    over: str = ""
    mask: str = ""
    strength: float | None = None
    scheduler: str = "ddim"
    sampler_steps: int = 50
    scale: float = 7.5
    width: int | None = None
    height: int | None = None
    seed: int = 42
    samples: int = 1


@dataclass(frozen=True)
class Progress:
    """How far it is: steps of the sampler done of how many (0: not known yet), and what is being done."""

    done: int
    total: int
    what: str


@dataclass(frozen=True)
class Drawn:
    """What was drawn: for each number of steps towards the taste what it is called, and the files.

    `grids` are those of them all; `command` draws the same. `stopped` before the end, there is what was done.
    """

    columns: tuple[tuple[str, tuple[Path, ...]], ...]
    grids: tuple[Path, ...]
    command: str
    seconds: float
    stopped: bool = False


class _StoppedError(VisunexError):
    """Somebody asked for the drawing to end."""


def arguments(form: Form, outputs: Path) -> list[str]:
    """The arguments of `visunex-generate` that ask for the same; what is its default is left out."""
    plain = Form()
    named: list[tuple[str, Any, Any]] = [
        ("--negative_prompt", form.negative, ""),
        ("--prompt-syntax", "webui" if form.weighted else "plain", "plain"),
        ("--model", form.model, ""),
        ("--scheduler", form.scheduler or "ddim", "ddim"),
        ("--ddim_steps", form.sampler_steps, plain.sampler_steps),
        ("--scale", form.scale, plain.scale),
        ("--W", form.width, None),
        ("--H", form.height, None),
        ("--seed", form.seed, plain.seed),
        ("--n_samples", form.samples, plain.samples),
    ]
    named += [
        ("--clip_skip", form.clip_skip, plain.clip_skip),
        *(("--lora", file, "") for file in _listed(form.loras)),
        *(("--textual-inversion", file, "") for file in _listed(form.words)),
        ("--vae", form.vae, ""),
        ("--init-img", form.over, ""),
        ("--mask", form.mask, ""),
        ("--strength", form.strength, None),
    ]
    named += _of_taste(form) if form.taste else []
    named.append(("--outdir", str(outputs), "outputs"))
    given = [("--prompt", form.prompt), *((name, value) for name, value, usual in named if value != usual)]
    return [text for name, value in given for text in ((name,) if value is True else (name, _written(value)))]


def _of_taste(form: Form) -> list[tuple[str, Any, Any]]:
    """The options that say which tastes, how far, and what of it counts: each with its value and default."""
    steps = [("--sweep-steps", form.sweep.replace(" ", "") or f"0,{form.steps}", "")]
    if form.weights.strip():
        steps = [
            ("--sweep-weights", form.weights.replace(" ", ""), ""),
            *(steps if form.sweep.strip() else [("--aesthetic_steps", form.steps, STEPS)]),
        ]
    return [
        *(("--aesthetic_embedding", name, "") for name in (form.taste, *_listed(form.further))),
        ("--best-of", form.best_of, 1),
        *steps,
        ("--aesthetic_lr", form.lr, LR),
        ("--aesthetic_until", form.until.strip(), ""),
        ("--aesthetic_weight", 1.0 if form.weights.strip() else form.weight, 1.0),
        ("--aesthetic_slerp", form.slerp, False),
        ("--aesthetic_text", form.text, ""),
        ("--aesthetic_text_negative", form.away, False),
        ("--aesthetic_text_angle", form.angle, 0.1),
        ("--aesthetic_from", form.begin, 0.0),
        ("--aesthetic_to", form.end, 1.0),
    ]


def _listed(text: str) -> list[str]:
    """What is between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def command_line(words: Sequence[str]) -> str:
    """The command that a person copies."""
    return shlex.join([_PROGRAM, *words])


def options_of(words: Sequence[str]) -> Options:
    """The command's options, as it would take these arguments. Raises UsageError as it would."""
    try:
        given = _parser().make_context(_PROGRAM, list(words)).params
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None
    return Options(**{field.name: given[field.name] for field in fields(Options)})


@cache
def _parser() -> click.Command:
    """The command's options without what it does."""

    @click.command(_PROGRAM, add_help_option=False)
    @generate_options
    def parser(**_given: Any) -> None:
        pass

    return parser


class Artist:
    """Draws one job at a time, and keeps the model that it used last."""

    def __init__(self) -> None:
        self._drawing = threading.Lock()
        self._stop = threading.Event()
        self._loaded: tuple[tuple[Any, ...], Sampler] | None = None

    def stop(self) -> None:
        """End what is being drawn after its step."""
        self._stop.set()

    def draw(self, form: Form, places: Places) -> Iterator[Progress | Drawn]:
        """How far it is, again and again; at last what was drawn. Raises what the command would say."""
        options = seeded(options_of(arguments(form, places.outputs)))
        words = arguments(_with_seed(form, options.seed), places.outputs)
        job = job_of(options)
        with self._drawing:
            self._stop.clear()
            news: queue.SimpleQueue[Progress | Drawn | Exception] = queue.SimpleQueue()
            thread = threading.Thread(target=self._work, args=(options, job, command_line(words), news))
            thread.start()
            try:
                yield from _latest(news)
            finally:  # also where nobody looks any more
                self._stop.set()
                thread.join()

    def _work(self, options: Options, job: "Job", command: str, news: Any) -> None:
        began, before = time.monotonic(), _files(job.folder)
        try:
            news.put(Progress(0, 0, f"loading {options.model}"))
            report = self._run(options, job, news)
            files = [Path(each) for each in report.samples]
            grids = tuple(Path(each) for each in report.grids)
            news.put(Drawn(_columns(job, files), grids, command, time.monotonic() - began))
        except _StoppedError:
            files = sorted(_files(job.folder) - before)
            news.put(Drawn(_columns(job, files), (), command, time.monotonic() - began, stopped=True))
        except Exception as error:
            news.put(error)

    def _run(self, options: Options, job: "Job", news: Any) -> Any:
        from visunex.generate.job import run

        sampler = self._sampler(options)
        job = fitting(job, options, sampler.model)
        for variant in job.variants:
            sampler.conditioner.require(variant.steering)
        total = len(job.variants) * sampler.evaluations(*job.drawn, start=job.start)
        done = 0

        def on_step() -> None:
            nonlocal done
            done += 1
            self._go_on(news, Progress(done, total, "drawing"))

        def on_personalise(step: int, cosine: float) -> None:
            self._go_on(news, Progress(done, total, f"steering, step {step + 1}: cosine {cosine:.3f}"))

        return run(job, sampler, on_step=on_step, on_personalise=on_personalise)

    def _go_on(self, news: Any, progress: Progress) -> None:
        if self._stop.is_set():
            raise _StoppedError
        news.put(progress)

    def _sampler(self, options: Options) -> "Sampler":
        """The model, loaded where the last one was another."""
        from visunex.generate.sampling.sampler import Sampler

        quiet_libraries()
        added = additions_of(options)
        asked = (
            options.model,
            options.device,
            options.precision,
            options.lowvram,
            options.text_encoder,
            added,
        )
        if self._loaded is None or self._loaded[0] != asked:
            self._loaded = None  # two models may not fit beside one another
            loaded = Sampler.load(
                options.model,
                device=options.device,
                precision=options.precision,
                lowvram=options.lowvram,
                text_encoder=options.text_encoder,
                additions=added,
            )
            self._loaded = (asked, loaded)
        return self._loaded[1]


def _latest(news: "queue.SimpleQueue[Progress | Drawn | Exception]") -> Iterator[Progress | Drawn]:
    """The last of what came since the look before; an error is raised, and what was drawn is the end."""
    while True:
        latest = news.get()
        while not (isinstance(latest, Drawn | Exception) or news.empty()):
            latest = news.get()
        if isinstance(latest, Exception):
            raise latest
        yield latest
        if isinstance(latest, Drawn):
            return
        time.sleep(_PAUSE)


def _columns(job: "Job", files: Sequence[Path]) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    """The files by the steps that were taken towards the taste; those come one after another."""
    size = job.settings.samples * job.settings.iterations
    names = [_called(variant) for variant in job.variants]
    parts = [tuple(files[number * size : (number + 1) * size]) for number in range(len(names))]
    return tuple((name, part) for name, part in zip(names, parts, strict=True) if part)


def _called(variant: "Variant") -> str:
    """What a column is called: by its weight where weights are compared, else by its steps."""
    if variant.steering is None or variant.steering.idle:
        return "untouched"
    if variant.column.startswith("weight "):
        return " · ".join(filter(None, (variant.row, variant.column)))
    if variant.steering.controls.until is not None:
        return f"until {variant.steering.controls.until}"
    steps = variant.steering.steps
    return f"{steps} step{'s' if steps > 1 else ''}"


def _files(folder: Path) -> set[Path]:
    return {*(folder / SAMPLES).glob("*.png")}


def _with_seed(form: Form, seed: int) -> Form:
    from dataclasses import replace

    return replace(form, seed=seed)


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
