"""Stable Diffusion 2.x as a diffusers folder, here or on the Hub -> the model's parts."""

import torch

from ..sd1.folder import load_folder as load_like_first
from .parts import Parts

__all__ = ["load_folder"]


def load_folder(name: str, dtype: torch.dtype, variant: str | None = None) -> Parts:
    """The parts in the folder `name`, or of that name on the Hub: UNet and VAE in `dtype`, the rest in fp32.

    A folder lies as one of 1.x does. Raises CheckpointError for what is not there, or not readable.
    """
    return Parts(**vars(load_like_first(name, dtype, variant)))
