"""FLUX.1 as a diffusers folder, here or on the Hub -> the model's parts."""

import torch

from ..flow import check_latents, schedule, t5_of
from ..folders import Folder, readable
from ..outline import PATCH
from .parts import Parts

__all__ = ["load_folder"]

PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2")  # folders of weights


def load_folder(name: str, dtype: torch.dtype, variant: str | None = None) -> Parts:
    """The parts in the folder `name`, or of that name on the Hub: CLIP in fp32, the rest in `dtype`.

    Raises CheckpointError for what is not there or not readable.
    """
    import diffusers

    folder = Folder(name, variant)
    with readable(name), folder.checked(*PARTS):
        for part in PARTS:
            folder.config(part)
        noise = schedule(folder, name)
        encoder, tokenizer = t5_of(folder, name, 2, dtype)
        transformer = folder.network(diffusers.FluxTransformer2DModel, "transformer", dtype)
        vae = folder.network(diffusers.AutoencoderKL, "vae", dtype)
        check_latents(transformer, vae, PATCH**2, name)
        clip = folder.text_encoder()
        projection = getattr(clip, "text_projection", None)
        return Parts(
            transformer=transformer,
            vae=vae,
            text_encoder=clip if projection is None else clip.text_model,
            own_projection=None if projection is None else projection.weight.detach(),
            tokenizer=folder.tokenizer(),
            text_encoder_2=encoder,
            tokenizer_2=tokenizer,
            scheduler_config=noise,
        )
