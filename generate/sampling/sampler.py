"""Conditioning and noise -> pictures: the original's loop over any of diffusers' schedulers."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from ..families.sd1 import model as models
from ..families.sd1.model import Model
from ..prompts import Conditioner
from ..settings import DEFAULT_MODEL, Settings
from ..steering import steer
from ..taste import Taste
from . import schedulers
from .noise import Noise

__all__ = ["Batch", "Sampler", "denoise"]

OnStep = Callable[[], None]


@dataclass(frozen=True)
class Batch:
    """The pictures of one call of the sampler, with the prompts they show; `number` counts from 0 in a
    run."""

    number: int
    prompts: tuple[str, ...]
    images: tuple[Image.Image, ...]


class Sampler:
    """A loaded model and what it has computed so far; `Sampler.load("visunex-tiny")` for anyone's own
    script."""

    def __init__(self, model: Model, *, stock_text_encoder: bool = False) -> None:
        self.model = model
        self.conditioner = Conditioner(model, stock=stock_text_encoder)

    @classmethod
    def load(cls, name: str = DEFAULT_MODEL, *, stock_text_encoder: bool = False, **how: Any) -> "Sampler":
        """Load a model by name, folder or file; `how` is what `models.load` takes. Raises CheckpointError."""
        return cls(models.load(name, **how), stock_text_encoder=stock_text_encoder)

    def sample(
        self,
        prompts: str | Sequence[str],
        settings: Settings | None = None,
        taste: Taste | None = None,
        *,
        on_step: OnStep = lambda: None,
        on_personalise: steer.OnStep | None = None,
        only: int | None = None,
    ) -> Iterator[Batch]:
        """Yield one `Batch` after another: every group of prompts in each iteration.

        A single prompt fills a batch with `samples` pictures; several are taken `samples` at a time, one
        picture each, as the original's `--from-file` does. `only` samples just the batch of that number,
        with the noise it would have had in the whole run. Raises UsageError for settings that do not fit the
        model.
        """
        settings = settings or Settings()
        shape = latent_shape(self.model, settings)
        scheduler = build_scheduler(self.model, settings)
        noise = Noise(settings.seed, self._source(settings), self.model.device)
        start = noise.draw(shape) if settings.fixed_code else None
        draws = draws_per_batch(scheduler, fixed_code=settings.fixed_code)
        for number, group in enumerate(groups(prompts, settings)):
            if only not in (None, number):
                noise.skip(shape, draws)
                continue
            latents = noise.draw(shape) if start is None else start
            conditioning = torch.cat([self.conditioner.prompt(text, taste, on_personalise) for text in group])
            with self.model.on_device(self.model.unet) as unet:
                latents = denoise(
                    unet,
                    build_scheduler(self.model, settings),
                    latents,
                    conditioning,
                    self._negative(settings, conditioning),
                    scale=settings.guidance_scale,
                    eta=settings.eta,
                    noise=noise,
                    branch=number,
                    on_step=on_step,
                )
            yield Batch(number, group, decode(self.model, latents))

    def evaluations(
        self, prompts: str | Sequence[str], settings: Settings, only: tuple[int, int] | None = None
    ) -> int:
        """How many times `sample` will call `on_step`."""
        steps = len(build_scheduler(self.model, settings).timesteps)
        return steps * (1 if only else sum(1 for _ in groups(prompts, settings)))

    def _negative(self, settings: Settings, conditioning: Tensor) -> Tensor | None:
        """Conditioning of the negative prompt for each of the batch; None at scale 1, which is no
        guidance."""
        if settings.guidance_scale == 1.0:
            return None
        return self.conditioner.negative(settings.negative_prompt).expand_as(conditioning)

    def _source(self, settings: Settings) -> torch.device:
        return torch.device("cpu") if settings.rng == "cpu" else self.model.device


def groups(prompts: str | Sequence[str], settings: Settings) -> Iterator[tuple[str, ...]]:
    """The prompts of each batch of a run, in the original's order: all prompts, then all again."""
    if isinstance(prompts, str):
        chunks = [(prompts,) * settings.samples]
    else:
        size = settings.samples
        chunks = [tuple(prompts[first : first + size]) for first in range(0, len(prompts), size)]
    for _ in range(settings.iterations):
        yield from chunks


def latent_shape(model: Model, settings: Settings) -> tuple[int, int, int, int]:
    """`(n, C, h, w)` of one batch's latents; raises UsageError for sizes that the VAE cannot have."""
    own_height, own_width = model.size
    height = own_height if settings.height is None else settings.height
    width = own_width if settings.width is None else settings.width
    for name, pixels in (("--H", height), ("--W", width)):
        if pixels < model.factor or pixels % model.factor:
            raise UsageError(
                f"{name} is {pixels}: it must be a multiple of {model.factor}, {_near(pixels, model)}"
            )
    return settings.samples, model.channels, height // model.factor, width // model.factor


def _near(pixels: int, model: Model) -> str:
    below = max(pixels // model.factor, 0) * model.factor
    return f"such as {below} or {below + model.factor}" if below else f"{model.factor} or more"


def build_scheduler(model: Model, settings: Settings) -> Any:
    """The settings' scheduler over the model's noise schedule; raises UsageError for what it cannot do."""
    if settings.eta and schedulers.canonical(settings.scheduler) == schedulers.PLMS:
        raise UsageError("--ddim_eta must be 0 with --plms: it has no noise of its own")
    return schedulers.build(settings.scheduler, model.scheduler_config, settings.steps)


def draws_per_batch(scheduler: Any, *, fixed_code: bool) -> int:
    """How many times a batch draws from the run's noise."""
    own = len(scheduler.timesteps) if schedulers.is_original(scheduler) else 0
    return own + (0 if fixed_code else 1)


@torch.inference_mode()
def denoise(
    unet: Any,
    scheduler: Any,
    latents: Tensor,
    conditioning: Tensor,
    negative: Tensor | None,
    *,
    scale: float,
    eta: float = 0.0,
    noise: Noise,
    branch: int = 0,
    on_step: OnStep = lambda: None,
) -> Tensor:
    """Latents `[n, C, h, w]` from noise of that shape, guided away from `negative`; None leaves guidance out.

    A batch that is not full takes the first of the noise. The state stays fp32 whatever the UNet's
    precision. `on_step` is called after each evaluation of the UNet.
    """
    count = len(conditioning)
    context = conditioning if negative is None else torch.cat([negative, conditioning])
    context = context.to(unet.dtype)
    advance = _advance(scheduler, eta, noise, branch, latents.shape)
    latents = latents[:count] * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        estimate = guided(unet, scaled, timestep, context, None if negative is None else scale)
        latents = advance(estimate, timestep, latents)
        on_step()
    return latents


def guided(unet: Any, latents: Tensor, timestep: Tensor, context: Tensor, scale: float | None) -> Tensor:
    """The UNet's estimate of the noise: eps(x, empty) + scale * (eps(x, cond) - eps(x, empty)), in fp32."""
    batch = latents if scale is None else torch.cat([latents, latents])
    estimate = unet(
        batch.to(unet.dtype), timestep.to(latents.device), encoder_hidden_states=context, return_dict=False
    )[0].float()
    if scale is None:
        return estimate
    empty, wanted = estimate.chunk(2)
    return empty + scale * (wanted - empty)


Advance = Callable[[Tensor, Tensor, Tensor], Tensor]


def _advance(scheduler: Any, eta: float, noise: Noise, branch: int, shape: Sequence[int]) -> Advance:
    """One step of the scheduler: estimate, time step, latents -> latents.

    The original draws noise at every step, even where it multiplies it by 0: so do its two samplers here, or
    the next batch would begin elsewhere in the generator's course.
    """
    if schedulers.is_original(scheduler):
        wants = "variance_noise" in inspect.signature(scheduler.step).parameters

        def original(estimate: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
            drawn = noise.draw(tuple(shape))[: len(latents)]
            extra = {"eta": eta, "variance_noise": drawn} if wants else {}
            return scheduler.step(estimate, timestep, latents, return_dict=False, **extra)[0]

        return original
    takes = inspect.signature(scheduler.step).parameters
    given = {"eta": eta, "generator": noise.branch(branch)}
    extra = {name: value for name, value in given.items() if name in takes}
    return lambda estimate, timestep, latents: scheduler.step(
        estimate, timestep, latents, return_dict=False, **extra
    )[0]


@torch.inference_mode()
def decode(model: Model, latents: Tensor) -> tuple[Image.Image, ...]:
    """Pictures of latents `[n, C, h, w]`."""
    with model.on_device(model.vae) as vae:
        latents = (latents / vae.config.scaling_factor).to(vae.dtype)
        pixels = vae.decode(latents, return_dict=False)[0]
    pixels = ((pixels.float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return tuple(Image.fromarray(picture) for picture in (pixels * 255).round().astype("uint8"))
