"""Stable Diffusion 3 and 3.5 as a diffusers folder, here or on the Hub -> the model's parts."""

import torch

from ..flow import check_latents, schedule, t5_of
from ..folders import Folder, readable
from .parts import Parts

__all__ = ["load_folder"]

PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2")  # folders of weights
T5 = "text_encoder_3"


def load_folder(name: str, dtype: torch.dtype, variant: str | None = None) -> Parts:
    """The parts in the folder `name`, or of that name on the Hub: CLIP in fp32, the rest in `dtype`.

    T5 is left out where the folder has none. Raises CheckpointError for what is not there or not readable.
    """
    import diffusers

    folder = Folder(name, variant)
    with readable(name):
        wanted = (*PARTS, T5) if folder.has(T5) else PARTS
        with folder.checked(*wanted):
            for part in wanted:
                folder.config(part)
            noise = schedule(folder, name)
            encoder, tokenizer = t5_of(folder, name, 3, dtype) if T5 in wanted else (None, None)
            transformer = folder.network(diffusers.SD3Transformer2DModel, "transformer", dtype)
            vae = folder.network(diffusers.AutoencoderKL, "vae", dtype)
            check_latents(transformer, vae, 1, name)
            return Parts(
                transformer=transformer,
                vae=vae,
                text_encoder=folder.text_encoder(projected=True),
                tokenizer=folder.tokenizer(),
                text_encoder_2=folder.text_encoder("text_encoder_2", projected=True),
                tokenizer_2=folder.tokenizer("tokenizer_2"),
                text_encoder_3=encoder,
                tokenizer_3=tokenizer,
                scheduler_config=noise,
            )
