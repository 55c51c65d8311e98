"""Prompts and settings -> images, batch after batch, as the original script orders them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from visunex.base.errors import require

from ..additions.ip_adapter import IMAGE, SCALE
from ..additions.put import put
from ..additions.wanted import Additions
from ..controls import Climb, Steering, Towards
from ..errors import UsageError
from ..families import flow
from ..families.loading import load
from ..families.model import Model, Task
from ..families.outline import STEPS
from ..pipelines.conditioner import Conditioner, Conditioning
from ..settings import DEFAULT_MODEL, Precision, SeedOf, Settings, TextEncoder
from ..start import Start
from ..steering import steer
from . import schedulers
from .by_pipeline import draw
from .decode import decode
from .denoise import OnStep, denoise
from .memory import enough_memory
from .noise import ImageNoise, Noise, seeds_of
from .sizes import check_family, check_steps, latent_shape

__all__ = ["Batch", "Sampler"]


@dataclass(frozen=True)
class Batch:
    """The images of one call of the sampler, with the prompt of each; `number` counts from 0 in a run.

    `climbs` says for each image how its prompt was moved: once for each text encoder that was.
    """

    number: int
    prompts: tuple[str, ...]
    images: tuple[Image.Image, ...]
    climbs: tuple[tuple[Climb, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class _Turn:
    """What a batch is drawn by: its number in the run, the settings, and what conditions it.

    `plain` conditions the steps that are not in the `share` of the sampling, from and to.
    """

    number: int
    settings: Settings
    cond: Conditioning
    plain: Conditioning
    share: tuple[float, float]
    on_step: OnStep


class Sampler:
    """A loaded model and the prompts it has computed so far: `Sampler.load("visunex-tiny")`.

    With `text_encoder` `openai` OpenAI's own CLIP reads the prompts, as in the original script.
    """

    def __init__(self, model: Model, *, text_encoder: TextEncoder = "model") -> None:
        self.model = model
        self.conditioner = Conditioner(model, text_encoder=text_encoder)

    @classmethod
    def load(
        cls,
        name: str | Path = DEFAULT_MODEL,
        *,
        device: str = "auto",
        precision: Precision = "autocast",
        lowvram: bool = False,
        text_encoder: TextEncoder = "model",
        variant: str | None = None,
        additions: Additions | None = None,
    ) -> "Sampler":
        """Load a Hub name, a diffusers folder, a `.safetensors` or `.ckpt` file, or `visunex-tiny`.

        `device` is a torch device, or `auto`: a GPU if there is one. `precision` is `full` (fp32), or
        `autocast`: fp16 on a GPU. `lowvram` keeps only the part at work on the device. `variant` names the
        files to take of a folder that has several, such as `fp16`. `additions` are LoRAs, textual inversions,
        a VAE and an IP-Adapter to put into it. Raises CheckpointError for a model that is not there or not
        readable, AdditionError for what does not fit it, UsageError for a device that is not there.
        """
        require(name, "name", (str, Path), "a Hub name, a folder or a file")
        with enough_memory("the model", str(device), "a smaller model, or a machine with more memory"):
            model = load(str(name), device=device, precision=precision, lowvram=lowvram, variant=variant)
            model = put(model, additions) if additions else model
        return cls(model, text_encoder=text_encoder)

    def settings(self, **given: Any) -> Settings:
        """Settings with what is `given`, and the model's own sampler, steps and guidance where it is not.

        Raises SettingsError as `Settings` does.
        """
        return Settings(**{**vars(self.model.defaults), **given})

    def sample(
        self,
        prompts: str | Sequence[str],
        settings: Settings | None = None,
        taste: Steering | Towards | None = None,
        *,
        on_step: OnStep = lambda: None,
        on_personalise: steer.OnStep | None = None,
        only: int | None = None,
        seed_of: SeedOf = "image",
        start: Start | None = None,
    ) -> Iterator[Batch]:
        """Yield one `Batch` after another: every group of prompts in each iteration.

        A single prompt fills a batch with `samples` images; several are taken `samples` at a time, one image
        each, as the original's `--from-file` does. `taste` is one, a list of several or of pairs with their
        weights, or a `Steering`, which has all controls. `only` samples just the batch of that number, with
        the noise it would have had in the whole run. `seed_of` says what the seed is of: `image`, each has
        its own, counted up from the settings'; `run`, one for all the noise, as in the original. `on_step` is
        called after each step of the sampler, `start` is an image that is drawn over, `on_personalise(step,
        cosine)` before each towards the taste. Raises UsageError for settings that do not fit the model,
        EmbeddingSizeError for a taste of another size.
        """
        settings = self.settings() if settings is None else settings
        _check(prompts, settings)
        check_family(self.model, settings)
        steering = Steering.of(taste)
        shape = latent_shape(self.model, settings)
        scheduler = build_scheduler(self.model, settings)
        noise = Noise(settings.seed, self._source(settings), self.model.device)
        with self._enough_memory(shape):
            fixed = noise.draw(shape) if settings.fixed_code and seed_of == "run" else None
        own = self.model.AS_ORIGINAL and schedulers.is_original(scheduler)
        draws = (len(scheduler.timesteps) if own else 0) + (0 if settings.fixed_code else 1)
        for number, group in enumerate(groups(prompts, settings)):
            if only not in (None, number):
                if seed_of == "run":
                    noise.skip(shape, draws)
                continue
            drawn = noise if seed_of == "run" else self._image_noise(settings, number)
            with self._enough_memory(shape):
                cond = self._conditioning(group, settings, steering, on_personalise)
                plain = cond if _is_whole(steering) else self._conditioning(group, settings)
                share = (0.0, 1.0) if steering is None else steering.controls.share
                turn = _Turn(number, settings, cond, plain, share, on_step)
                if start is None:
                    latents = drawn.draw(shape) if fixed is None else fixed
                    images = self._drawn(latents, drawn, turn)
                else:
                    images = self._drawn_over(start, turn)
            yield Batch(number, group, images, cond.climbs)

    def _conditioning(
        self,
        group: Sequence[str],
        settings: Settings,
        steering: Steering | None = None,
        on_step: steer.OnStep | None = None,
    ) -> Conditioning:
        """What conditions the images of a batch, in the order of their prompts."""
        how = _reading(settings)
        return Conditioning.of([self.conditioner.prompt(text, steering, on_step, **how) for text in group])

    def _drawn(self, latents: Tensor, noise: Noise | ImageNoise, turn: "_Turn") -> tuple[Image.Image, ...]:
        """The images of one batch, from noise of their latents' shape."""
        if isinstance(self.model, flow.Model):
            starting = self.model.starting(latents[: len(turn.cond.hidden)])
            return self._by_pipeline("text", turn, latents=starting)
        return decode(self.model, self._denoised(latents, noise, turn))

    def _drawn_over(self, start: Start, turn: "_Turn") -> tuple[Image.Image, ...]:
        """The images of one batch over the one that they start from."""
        _, _, height, width = latent_shape(self.model, turn.settings)
        image, mask = start.fitted(height * self.model.factor, width * self.model.factor)
        count = len(turn.cond.hidden)
        given: dict[str, Any] = {"image": [image] * count, "strength": start.strength}
        if mask is None:
            return self._by_pipeline("image", turn, **given)
        return self._by_pipeline("inpaint", turn, **given, mask_image=[mask] * count)

    def _by_pipeline(self, task: Task, turn: "_Turn", **given: Any) -> tuple[Image.Image, ...]:
        """The images of one batch that diffusers' own pipeline draws, each with its own seed."""
        settings, source = turn.settings, self._source(turn.settings)
        _, _, height, width = latent_shape(self.model, settings)
        cond, plain, uncond = _alike(turn.cond, turn.plain, self._uncond(settings, len(turn.cond.hidden)))
        return draw(
            self.model,
            task,
            build_scheduler(self.model, settings),
            cond,
            uncond,
            settings,
            otherwise=plain,
            share=turn.share,
            generators=[
                torch.Generator(source).manual_seed(seed) for seed in seeds_of(settings, turn.number)
            ],
            on_step=turn.on_step,
            height=height * self.model.factor,
            width=width * self.model.factor,
            **given,
        )

    def _denoised(self, latents: Tensor, noise: Noise | ImageNoise, turn: "_Turn") -> Tensor:
        """The latents of one batch, from noise of their shape."""
        settings, whole = turn.settings, turn.plain is turn.cond
        cond, plain, uncond = _alike(turn.cond, turn.plain, self._uncond(settings, len(turn.cond.hidden)))
        with self.model.on_device(self.model.denoiser) as unet:
            return denoise(
                unet,
                build_scheduler(self.model, settings),
                latents,
                cond.hidden,
                None if uncond is None else uncond.hidden,
                added=self._added(cond, uncond, latents),
                otherwise=None if whole else (plain.hidden, self._added(plain, uncond, latents)),
                share=turn.share,
                guidance_scale=settings.guidance_scale,
                eta=settings.eta,
                noise=noise,
                branch=turn.number,
                as_original=self.model.AS_ORIGINAL,
                on_step=turn.on_step,
            )

    def _enough_memory(self, shape: tuple[int, int, int, int]) -> AbstractContextManager[None]:
        samples, _, height, width = shape
        size = f"{height * self.model.factor}x{width * self.model.factor}"
        less = [f"a smaller --H and --W than {size}"]
        less = [f"a smaller --n_samples than {samples}", *less] if samples > 1 else less
        return enough_memory(f"a batch of {samples} of {size}", str(self.model.device), *less)

    def evaluations(
        self,
        prompts: str | Sequence[str],
        settings: Settings,
        only: tuple[int, int] | None = None,
        start: Start | None = None,
    ) -> int:
        """How many times `sample` will call `on_step`."""
        flows = isinstance(self.model, flow.Model)
        if start is not None:
            steps = start.steps(settings.steps, part_of_one=flows)
        elif flows:
            steps = settings.steps
        else:
            steps = len(build_scheduler(self.model, settings).timesteps)
        return steps * (1 if only else sum(1 for _ in groups(prompts, settings)))

    def _uncond(self, settings: Settings, count: int) -> Conditioning | None:
        """Conditioning of the negative prompt for each of a batch; None where there is no guidance."""
        if settings.guidance_scale == 1.0 or not self.model.guided:
            return None
        return self.conditioner.negative(settings.negative_prompt, **_reading(settings)).repeated(count)

    def _added(
        self, cond: Conditioning, uncond: Conditioning | None, latents: Tensor
    ) -> Mapping[str, Tensor] | None:
        """What the UNet takes beside hidden states, for the batch as it is given to it: uncond first."""
        both = cond if uncond is None else Conditioning.of([uncond, cond])
        height, width = (side * self.model.factor for side in latents.shape[2:])
        found = self.model.added(both.pooled, height, width)
        if both.image is None:
            return found
        return {**(found or {}), IMAGE: both.image, SCALE: torch.tensor(both.scale)}

    def _image_noise(self, settings: Settings, number: int) -> ImageNoise:
        return ImageNoise(seeds_of(settings, number), self._source(settings), self.model.device)

    def _source(self, settings: Settings) -> torch.device:
        return torch.device("cpu") if settings.rng == "cpu" else self.model.device


def _reading(settings: Settings) -> dict[str, Any]:
    """How the conditioner reads prompts."""
    return {"clip_skip": settings.clip_skip, "syntax": settings.prompt_syntax}


def _alike(
    cond: Conditioning, plain: Conditioning, uncond: Conditioning | None
) -> tuple[Conditioning, Conditioning, Conditioning | None]:
    """What conditions a batch, with as many hidden states in each."""
    first, second, *rest = Conditioning.alike([cond, plain] if uncond is None else [cond, plain, uncond])
    return first, second, rest[0] if rest else None


def _is_whole(steering: Steering | None) -> bool:
    return steering is None or steering.controls.whole


def _check(prompts: object, settings: Settings) -> None:
    """Raise UsageError for arguments that are not what `sample` takes."""
    for text in [prompts] if isinstance(prompts, str) or not isinstance(prompts, Sequence) else prompts:
        require(text, "prompts", str, "a text, or a list of texts")
    require(settings, "settings", Settings, "visunex.generate.Settings(...)")
    settings.check()


def groups(prompts: str | Sequence[str], settings: Settings) -> Iterator[tuple[str, ...]]:
    """The prompts of each batch of a run, in the original's order: all prompts, then all again."""
    if isinstance(prompts, str):
        chunks = [(prompts,) * settings.samples]
    else:
        size = settings.samples
        chunks = [tuple(prompts[first : first + size]) for first in range(0, len(prompts), size)]
    for _ in range(settings.iterations):
        yield from chunks


def build_scheduler(model: Model, settings: Settings) -> Any:
    """The settings' scheduler over the model's noise schedule; raises UsageError for what it cannot do."""
    if settings.eta and schedulers.canonical(settings.scheduler) == schedulers.PLMS:
        raise UsageError("--ddim_eta must be 0 with --plms: it has no noise of its own")
    config = model.scheduler_config
    if isinstance(model, flow.Model):
        check_steps(settings.steps, int(config.get("num_train_timesteps", STEPS)))
        return schedulers.along_flow(settings.scheduler, config)
    if settings.prediction:
        config = {**config, "prediction_type": schedulers.PREDICTIONS[settings.prediction]}
    return schedulers.build(settings.scheduler, config, settings.steps, as_original=model.AS_ORIGINAL)
