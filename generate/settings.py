"""How images are sampled: plain values, without torch."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from sys import float_info
from typing import Any, Literal

from visunex.base.errors import UsageError, described
from visunex.base.hub_cache import DEFAULT_MODEL

__all__ = [
    "DEFAULT_MODEL",
    "SEEDS",
    "Defaults",
    "Precision",
    "Prediction",
    "PromptSyntax",
    "SeedOf",
    "Settings",
    "SettingsError",
    "TextEncoder",
]

SEEDS = 2**64  # so many there are

TextEncoder = Literal["model", "openai"]  # whose text encoder reads the prompts
Prediction = Literal["epsilon", "v"]  # what the UNet estimates: the noise, or v (arXiv 2202.00512)
# What a seed stands for: an image's noise (its own seed is counted up from the run's), or all of a run's.
SeedOf = Literal["image", "run"]
PromptSyntax = Literal["plain", "webui"]  # how prompts are read: as words, or with the web UI's weights
Precision = Literal["full", "autocast"]  # fp32, or fp16 on a GPU


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """How a model is sampled where nobody says how; these are Stable Diffusion's."""

    scheduler: str = "ddim"
    steps: int = 50
    guidance_scale: float = 7.5


class SettingsError(UsageError, ValueError):
    """A value of `Settings` that is of another type, or that nothing could be sampled with."""


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)  # numpy's count, 4.0 does not


def _number(value: Any) -> float:
    if isinstance(value, bool | str | bytes):
        raise TypeError
    return value if isinstance(value, int) else float(value)


def _one_of(*values: object) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, str | bool | None) or value not in values:
            raise ValueError
        return value

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _pixels(value: Any) -> int | None:
    return None if value is None else _whole(value)


# What each field takes: a function that gives the value back or raises, and the words for it.
_TAKES: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "negative_prompt": (_text, "a text"),
    "seed": (_whole, "a whole number from 0 to 2^64 - 1"),
    "scheduler": (_text, "a sampler's name such as 'ddim'"),
    "steps": (_whole, "a whole number"),
    "eta": (_number, "a finite number, 0 or more"),
    "guidance_scale": (_number, "a finite number"),
    "height": (_pixels, "a whole number of pixels, or None"),
    "width": (_pixels, "a whole number of pixels, or None"),
    "samples": (_whole, "a whole number, 1 or more"),
    "iterations": (_whole, "a whole number, 1 or more"),
    "fixed_code": (_one_of(True, False), "True or False"),
    "rng": (_one_of("device", "cpu"), "'device' or 'cpu'"),
    "prediction": (_one_of("epsilon", "v", None), "'epsilon', 'v' or None"),
    "clip_skip": (_whole, "a whole number, 1 or more"),
    "prompt_syntax": (_one_of("plain", "webui"), "'plain' or 'webui'"),
}
# Bounds that do not depend on the model.
_BOUNDS = {
    "seed": (0, SEEDS - 1),
    "samples": (1, inf),
    "iterations": (1, inf),
    "clip_skip": (1, inf),
    "eta": (0, float_info.max),
    "guidance_scale": (-float_info.max, float_info.max),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How images are sampled: of the command, of the Python API, and as a PNG says of its image.

    Its defaults are those of Stable Diffusion; `Sampler.settings` has those of the model.

    - `negative_prompt`: what the images must not show
    - `seed`: of the noise, 0 to 2^64 - 1; of the first image, where each has its own
    - `scheduler`: `ddim`, `plms` or one of diffusers' others
    - `steps`: of the sampler
    - `eta`: share of new noise in each DDIM step
    - `guidance_scale`: of classifier-free guidance (arXiv 2207.12598); 1 is none
    - `height`, `width`: in pixels; None is the model's own
    - `samples`: images in a batch
    - `iterations`: batches for each prompt
    - `fixed_code`: the same starting noise for every batch
    - `prediction`: what the model's UNet estimates, where the model does not say so or says it wrongly
    - `clip_skip`: which hidden state conditions, as the web UI counts: 1 is the model's own, 2 leaves one
      layer more out (diffusers' 1)
    - `prompt_syntax`: how prompts are read: `plain` words, or as the `webui` reads them, with weights and
      `BREAK`, and of any length
    - `rng`: noise is drawn on the sampler's `device`, or on the `cpu`: the same images on every machine

    Raises SettingsError, a ValueError, that names the field for a value of another type.
    """

    negative_prompt: str = ""
    seed: int = 42
    scheduler: str = Defaults.scheduler
    steps: int = Defaults.steps
    eta: float = 0.0
    guidance_scale: float = Defaults.guidance_scale
    height: int | None = None
    width: int | None = None
    samples: int = 1
    iterations: int = 1
    fixed_code: bool = False
    rng: Literal["device", "cpu"] = "device"
    prediction: Prediction | None = None
    clip_skip: int = 1
    prompt_syntax: PromptSyntax = "plain"

    def __post_init__(self) -> None:
        for name, (check, wanted) in _TAKES.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, check(value))
            except (TypeError, ValueError):
                raise SettingsError(f"{name} is {described(value)}: give {wanted}") from None

    def check(self) -> None:
        """Raise SettingsError, naming the field, for a value that nothing can be sampled with."""
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise SettingsError(f"{name} is {described(value)}: give {_TAKES[name][1]}")
