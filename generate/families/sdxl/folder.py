"""SDXL as a diffusers folder, here or on the Hub -> the model's parts."""

import torch

from ...errors import CheckpointError
from ..folders import Folder, readable
from .parts import Parts

__all__ = ["load_folder"]

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")  # folders of weights


def load_folder(name: str, dtype: torch.dtype, variant: str | None = None) -> Parts:
    """The parts in the folder `name`, or of that name on the Hub: the UNet in `dtype`, text encoders in fp32.

    So is a VAE that overflows in fp16, as its configuration says. `variant` chooses among files such as
    `NAME.fp16.safetensors`; one that is alone here is taken anyway. Raises CheckpointError for what is not
    there, not readable, or made for another kind of noise.
    """
    import diffusers

    folder = Folder(name, variant)
    with readable(name), folder.checked(*PARTS):
        configs = {part: folder.config(part) for part in (*PARTS, "scheduler")}
        _check_schedule(str(configs["scheduler"].get("_class_name")), name)
        upcast = configs["vae"].get("force_upcast", True)
        encoder = folder.text_encoder()
        projection = getattr(encoder, "text_projection", None)
        return Parts(
            unet=folder.network(diffusers.UNet2DConditionModel, "unet", dtype),
            vae=folder.network(diffusers.AutoencoderKL, "vae", torch.float32 if upcast else dtype),
            text_encoder=encoder if projection is None else encoder.text_model,
            own_projection=None if projection is None else projection.weight.detach(),
            tokenizer=folder.tokenizer(),
            text_encoder_2=folder.text_encoder("text_encoder_2", projected=True),
            tokenizer_2=folder.tokenizer("tokenizer_2"),
            scheduler_config=folder.schedule(),
            zeros=_zeros(name),
        )


def _check_schedule(kind: str, name: str) -> None:
    """Raise CheckpointError for a model that was trained over other noise than our samplers go through."""
    if kind.startswith("EDM"):
        raise CheckpointError(
            f"{name} is an SDXL of the EDM noise schedule ({kind}), which no sampler here goes through: "
            "give --model another"
        )


def _zeros(name: str) -> bool:
    """Whether the pipeline's own configuration has zeros for an empty prompt, as where there is none."""
    import diffusers

    try:
        config = diffusers.DiffusionPipeline.load_config(name)
    except (OSError, ValueError):  # a folder without a model_index.json
        return True
    return bool(config.get("force_zeros_for_empty_prompt", True))
