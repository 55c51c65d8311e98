"""How images are sampled: plain values, without torch."""

from dataclasses import dataclass
from typing import Literal

from visunex.base.hub_cache import DEFAULT_MODEL

__all__ = ["DEFAULT_MODEL", "SEEDS", "Precision", "Prediction", "SeedOf", "Settings", "TextEncoder"]

SEEDS = 2**64  # so many there are

TextEncoder = Literal["model", "openai"]  # whose text encoder reads the prompts
Prediction = Literal["epsilon", "v"]  # what the UNet estimates: the noise, or v (arXiv 2202.00512)
# What a seed stands for: an image's noise (its own seed is counted up from the run's), or all of a run's.
SeedOf = Literal["image", "run"]
Precision = Literal["full", "autocast"]  # fp32, or fp16 on a GPU


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How images are sampled: of the command, of the Python API, and as a PNG says of its image.

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
    - `rng`: noise is drawn on the sampler's `device`, or on the `cpu`: the same images on every machine
    """

    negative_prompt: str = ""
    seed: int = 42
    scheduler: str = "ddim"
    steps: int = 50
    eta: float = 0.0
    guidance_scale: float = 7.5
    height: int | None = None
    width: int | None = None
    samples: int = 1
    iterations: int = 1
    fixed_code: bool = False
    rng: Literal["device", "cpu"] = "device"
    prediction: Prediction | None = None
