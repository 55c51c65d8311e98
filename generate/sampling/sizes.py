"""Sizes and numbers of steps that a model has: checked before it is loaded, where they are known."""

from typing import Protocol

from ..checkpoint.kinds import NAMES, Family, denoiser_of
from ..errors import UsageError
from ..output.infotext import SAMPLERS
from ..settings import Settings
from .names import FLOWING, canonical

__all__ = ["Sampled", "Sized", "check_family", "check_steps", "latent_shape"]


class Sized(Protocol):
    """What latents depend on, of a loaded model or its outline."""

    @property
    def factor(self) -> int:
        """Pixels per latent along each side."""

    @property
    def channels(self) -> int:
        """Channels of a latent."""

    @property
    def multiple(self) -> int:
        """What height and width in pixels are multiples of."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was made for."""


def latent_shape(model: Sized, settings: Settings) -> tuple[int, int, int, int]:
    """`(n, C, h, w)` of one batch's latents; raises UsageError for sizes that the VAE cannot have."""
    own_height, own_width = model.size
    height = own_height if settings.height is None else settings.height
    width = own_width if settings.width is None else settings.width
    for name, pixels in (("--H", height), ("--W", width)):
        if pixels < model.multiple or pixels % model.multiple:
            raise UsageError(
                f"{name} is {pixels}: it must be a multiple of {model.multiple}, {_near(pixels, model)}"
            )
    return settings.samples, model.channels, height // model.factor, width // model.factor


def _near(pixels: int, model: Sized) -> str:
    below = max(pixels // model.multiple, 0) * model.multiple
    return f"such as {below} or {below + model.multiple}" if below else f"{model.multiple} or more"


class Sampled(Protocol):
    """What settings may be of no use for, of a loaded model or its outline."""

    @property
    def name(self) -> str:
        """Its name, folder or file."""

    @property
    def kind(self) -> Family:
        """Its family."""


def check_family(model: Sampled, settings: Settings) -> None:
    """Raise UsageError for settings that models of a family have nothing for."""
    if denoiser_of(model.kind) == "unet":
        return
    called, kind = f"{model.name} is of the family {NAMES[model.kind]}", canonical(settings.scheduler)
    if kind not in FLOWING:
        able = ", ".join(SAMPLERS[each] for each in FLOWING)
        raise UsageError(
            f"{called}, which goes along a flow, and {SAMPLERS.get(kind, kind)} does not: --scheduler {able}"
        )
    for option, value in (("--prediction", settings.prediction), ("--ddim_eta", settings.eta)):
        if value:
            raise UsageError(f"{option} is for Stable Diffusion 1, 2 and XL, and {called}: leave it out")
    if settings.prompt_syntax != "plain":
        raise UsageError(
            f"--prompt-syntax {settings.prompt_syntax} is for Stable Diffusion 1, 2 and XL, and {called}, "
            "which has T5 beside CLIP: write the prompt in plain words, as long as it needs to be"
        )
    if model.kind == "flux":
        _check_flux(called, settings)


def _check_flux(called: str, settings: Settings) -> None:
    if settings.negative_prompt:
        raise UsageError(f"{called}, which takes no negative prompt: leave --negative_prompt out")
    if settings.clip_skip > 1:
        raise UsageError(
            f"{called}, which no hidden state of CLIP conditions: leave --clip_skip {settings.clip_skip} out"
        )


def check_steps(steps: int, trained: int) -> None:
    """Raise UsageError for more steps than the model's noise schedule has."""
    if not 1 <= steps <= trained:
        raise UsageError(f"--ddim_steps is {steps}: give 1 to {trained}")
