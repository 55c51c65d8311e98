"""Stable Diffusion 1.x as a diffusers folder, here or on the Hub -> the model's parts."""

from dataclasses import replace

import torch

from visunex.demo import TINY_MODEL

from ...errors import CheckpointError
from ..folders import Folder, readable
from ..parts import UNetParts

__all__ = ["load_folder", "load_tiny"]

PARTS = ("unet", "vae", "text_encoder")  # folders of weights


def load_tiny(dtype: torch.dtype) -> UNetParts:
    """The parts of the demo world's `visunex-tiny`; raises CheckpointError where it is not installed."""
    from visunex.demo.tiny import SD_FOLDER, text_projection

    if not (SD_FOLDER / "unet").is_dir():
        raise CheckpointError(
            f"{TINY_MODEL} is not installed with this copy of visunex: {SD_FOLDER} is not there"
        )
    return replace(load_folder(str(SD_FOLDER), dtype), own_projection=text_projection())


def load_folder(name: str, dtype: torch.dtype, variant: str | None = None) -> UNetParts:
    """The parts in the folder `name`, or of that name on the Hub: UNet and VAE in `dtype`, the rest in fp32.

    `variant` chooses among files such as `NAME.fp16.safetensors`; one that is alone here is taken anyway.
    Raises CheckpointError for what is not there, or not readable.
    """
    import diffusers

    folder = Folder(name, variant)
    with readable(name), folder.checked(*PARTS):
        for part in PARTS:
            folder.config(part)
        schedule = folder.schedule()
        encoder = folder.text_encoder()
        projection = getattr(encoder, "text_projection", None)
        return UNetParts(
            unet=folder.network(diffusers.UNet2DConditionModel, "unet", dtype),
            vae=folder.network(diffusers.AutoencoderKL, "vae", dtype),
            text_encoder=encoder if projection is None else encoder.text_model,
            own_projection=None if projection is None else projection.weight.detach(),
            tokenizer=folder.tokenizer(),
            scheduler_config=schedule,
        )
