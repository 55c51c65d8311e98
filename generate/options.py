"""The options of `visunex-generate`: the original script's names, each with a hyphenated twin."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from visunex.base.console import proxy_option

from .settings import DEFAULT_MODEL

__all__ = ["ELSEWHERE", "HEADINGS", "generate_options"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Options of the original script and of other programs, and what they are here.
ELSEWHERE = {
    "config": "is not needed: a model says itself how it is built. Leave it out.",
    "laion400m": "is for a model older than Stable Diffusion. Leave it out, and name a newer one "
    "with --model.",
    "dpm_solver": "is --scheduler 'DPM++ 2M' here.",
    "steps": "is --ddim_steps here.",
    "width": "is --W here.",
    "height": "is --H here.",
    "sampler": "is --scheduler here.",
    "sampler_name": "is --scheduler here.",
    "cfg_scale": "is --scale here.",
    "guidance_scale": "is --scale here.",
    "batch_size": "is --n_samples here.",
    "batch_count": "is --n_iter here.",
    "aesthetic_weight": "is not there: steps and rate say how far, --aesthetic_steps and --aesthetic_lr.",
}

MOST_SAMPLES = 10_000  # in a batch; each has its noise drawn before memory can be seen not to suffice


class Whole(click.IntRange):
    """A whole number within bounds; click would call it an integer range."""

    name = "integer"


class Folder(click.Path):
    """A folder's path. An empty one, as of a variable that is not set, is not the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse `outputs`."""
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


class Finite(click.ParamType[float]):
    """A number that is neither infinite nor NaN, and not below `least`."""

    name = "number"

    def __init__(self, least: float = -math.inf) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse `7.5`."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        if number < self.least:
            self.fail(f"{value!r} is less than {self.least:g}", param, ctx)
        return number


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers from 0, separated by commas."""

    name = "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse `0,5,8` into `(0, 5, 8)`."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() for part in parts):
            self.fail(f"{value!r} is not a list of numbers of steps such as 0,5,8,20", param, ctx)
        return tuple(map(int, parts))


class Names(click.ParamType[tuple[str, ...]]):
    """Names or paths, separated by commas."""

    name = "NAME,NAME,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Parse `a,b` into `("a", "b")`."""
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail(f"{value!r} is not a list of names such as fantasy,sac_8plus", param, ctx)
        return names


FILE = click.Path(path_type=Path, dir_okay=False)
AT_LEAST_ONE, NOT_NEGATIVE = Whole(min=1), Whole(min=0)


def option(
    name: str, help_text: str, *more: str, field: str | None = None, **settings: Any
) -> Callable[[Function], Function]:
    """A click option under `name`, its twin with the other of `_` and `-`, and `more` names.

    `field` is what `request.Options` calls it, where that is not the name itself.
    """
    bare = name.removeprefix("--")
    twins = dict.fromkeys((name, "--" + bare.replace("_", "-"), "--" + bare.replace("-", "_"), *more))
    said = settings.get("is_flag") or "[default:" in help_text
    shown = not said and settings.get("default") not in (None, "")
    return click.option(
        *twins, field or bare.replace("-", "_"), help=help_text, show_default=shown, **settings
    )


WHAT = [
    option("--prompt", "What the picture shows."),
    option(
        "--from-file",
        "Read the prompts from this file, one a line; a line may end in options of its own: --n (negative "
        "prompt), --d (seed), --s (steps), --l (scale), --w, --h, --aesthetic_steps and the like.",
        type=FILE,
    ),
    option("--negative_prompt", "What the picture must not show.", default=""),
    option(
        "--model",
        "A Stable Diffusion 1.x or SDXL model: a folder, a .safetensors or .ckpt file, or a name on the "
        "Hugging Face Hub, fetched when first used (4 to 14 GB); visunex-tiny is a toy without a network.",
        "--ckpt",
        default=DEFAULT_MODEL,
    ),
    option(
        "--variant",
        "Which files of a folder or Hub model, e.g. fp16; default: those without, else what there is.",
    ),
    option(
        "--from-image",
        "Make this picture again, from what it says of itself: ours, the web UI's, NovelAI's, ComfyUI's.",
        type=FILE,
    ),
    option("--recipe", "Take defaults from the [generate] part of this recipe (name or file)."),
]
TASTE = [
    option(
        "--aesthetic_embedding",
        "The taste: a path, or the name of a run or of a published embedding, fetched when first used "
        "(`visunex-data embeddings list` names them).",
    ),
    option("--aesthetic_steps", "Steps towards the taste; 0: none.", type=NOT_NEGATIVE, default=10),
    option("--aesthetic_lr", "Length of each such step.", type=Finite(), default=1e-4),
    option(
        "--text-encoder",
        "The text encoder of Stable Diffusion 1.x to personalise: its own, or OpenAI's as the original did.",
        type=click.Choice(["model", "openai"]),
        default="model",
    ),
    option(
        "--mirror",
        "A folder or URL that has the published embeddings, in place of their publisher's.",
        envvar="VISUNEX_MIRROR",
        metavar="PLACE",
    ),
    option("--sweep-steps", "One labelled grid over these aesthetic steps, e.g. 0,5,8,20.", type=Numbers()),
    option("--sweep-embeddings", "One labelled grid over these embeddings, e.g. a,b,c.", type=Names()),
]
SAMPLING = [
    option("--ddim_steps", "Steps of the sampler.", type=AT_LEAST_ONE, default=50),
    option("--plms", "Sample with PLMS.", is_flag=True),
    option(
        "--scheduler",
        "ddim, plms, or a sampler's name in diffusers or the web UI, e.g. 'Euler a', 'DPM++ 2M Karras'.",
        default="ddim",
    ),
    option(
        "--prediction",
        "What the UNet estimates: noise or v.  [default: as the model says]",
        type=click.Choice(["epsilon", "v"]),
    ),
    option("--ddim_eta", "Share of new noise in each DDIM step.", type=Finite(0), default=0.0),
    option("--scale", "Guidance scale; 1: no guidance.", type=Finite(), default=7.5),
    option("--H", "Height in pixels.  [default: the model's]", type=AT_LEAST_ONE, field="height"),
    option("--W", "Width in pixels.  [default: the model's]", type=AT_LEAST_ONE, field="width"),
    option("--C", "Latent channels: the model's, or it is refused.", type=int, field="channels"),
    option("--f", "Pixels per latent: the model's, or it is refused.", type=int, field="factor"),
    option("--n_samples", "Pictures in a batch.", type=Whole(1, MOST_SAMPLES), default=1),
    option("--n_iter", "Batches for each prompt.", type=AT_LEAST_ONE, default=1),
    option(
        "--seed",
        "Seed of the noise; -1: a random one, which is told.",
        type=Whole(-1, 2**64 - 1),
        default=42,
    ),
    option(
        "--seed_of",
        "image: each has a seed of its own, counted up from --seed; run: one for all, as the original.",
        type=click.Choice(["image", "run"]),
        default="image",
    ),
    option("--fixed_code", "The same starting noise for every batch.", is_flag=True),
    option(
        "--rng",
        "Where noise is drawn; cpu: the same on every machine.",
        type=click.Choice(["device", "cpu"]),
        default="device",
    ),
]
MACHINE = [
    option(
        "--precision",
        "full: fp32; autocast: fp16 on a GPU.",
        type=click.Choice(["full", "autocast"]),
        default="autocast",
    ),
    option("--device", "cpu, cuda, mps, ...; auto: a GPU if there is one.", default="auto"),
    option("--lowvram", "Keep only the part at work on the GPU, decode in tiles.", is_flag=True),
    option("--safety_checker", "Black out what the safety checker objects to.", is_flag=True),
    proxy_option,
]
OUTPUT = [
    option(
        "--outdir",
        "Folder for samples/00000.png and grid-0000.png.",
        type=Folder(path_type=Path),
        default="outputs",
    ),
    option("--n_rows", "Pictures in a row of the grid.  [default: n_samples]", type=NOT_NEGATIVE, default=0),
    option("--skip_grid", "Save no grid.", is_flag=True),
    option("--skip_save", "Save no single pictures.", is_flag=True),
]


# What `--help` puts above the option of this field and those behind it.
HEADINGS = {
    "prompt": "What to draw",
    "aesthetic_embedding": "The taste",
    "ddim_steps": "How it is sampled",
    "precision": "The machine",
    "outdir": "What is written",
    "version": "Other",
}


def generate_options(function: Function) -> Function:
    """Give a command every option of `visunex-generate`, in the order in which `--help` shows them."""
    for add in reversed(WHAT + TASTE + SAMPLING + MACHINE + OUTPUT):
        function = add(function)
    return function
