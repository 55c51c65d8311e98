"""Sizes and numbers of steps that a model has: checked before it is loaded, where they are known."""

from typing import Protocol

from ..errors import UsageError
from ..settings import Settings

__all__ = ["Sized", "check_steps", "latent_shape"]


class Sized(Protocol):
    """What latents depend on, of a loaded model or its outline."""

    @property
    def factor(self) -> int:
        """Pixels per latent along each side."""

    @property
    def channels(self) -> int:
        """Channels of a latent."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was made for."""


def latent_shape(model: Sized, settings: Settings) -> tuple[int, int, int, int]:
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


def _near(pixels: int, model: Sized) -> str:
    below = max(pixels // model.factor, 0) * model.factor
    return f"such as {below} or {below + model.factor}" if below else f"{model.factor} or more"


def check_steps(steps: int, trained: int) -> None:
    """Raise UsageError for more steps than the model's noise schedule has."""
    if not 1 <= steps <= trained:
        raise UsageError(f"--ddim_steps is {steps}: give 1 to {trained}")
