"""Tiny Stable Diffusion 2.x models with random weights in the real classes, as a folder and as one file."""

from pathlib import Path
from typing import Any

import torch
from original_layout import as_open_clip, unet_and_vae
from small_pipelines import text_encoder
from torch import Tensor

SCHEDULER = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}


def random_sd2(folder: Path, tokenizer: Any, width: int, layers: int = 3, **scheduler: Any) -> Any:
    """Write a whole Stable Diffusion 2 of the base model's shape; its text encoder, with the last layer and
    projection that the folder leaves out."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(4)
    settings = {"hidden_act": "gelu", "intermediate_size": 128, "num_attention_heads": width // 64}
    whole = text_encoder(tokenizer, width, width, layers, vocab_size=len(tokenizer), **settings)
    shorter = text_encoder(tokenizer, width, None, layers - 1, vocab_size=len(tokenizer), **settings)
    own = {name.removeprefix("text_model."): value for name, value in whole.state_dict().items()}
    shorter.load_state_dict({name: own[name] for name in shorter.state_dict()})
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(64, 128),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=width,
            attention_head_dim=(1, 2),
            use_linear_projection=True,
        ),
        vae=AutoencoderKL(
            block_out_channels=(32,) * 4,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=64,
        ),
        text_encoder=shorter,
        tokenizer=tokenizer,
        scheduler=PNDMScheduler(**SCHEDULER | scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return whole


def in_one_file(folder: Path, whole: Any) -> dict[str, Tensor]:
    """The weights of a folder and of its whole text encoder under the names of Stability's single files."""
    found = unet_and_vae(folder)
    for name, value in as_open_clip(whole.state_dict()).items():
        found[f"cond_stage_model.model.{name}"] = value
    found["cond_stage_model.model.logit_scale"] = torch.tensor(4.6)
    return {name: value.detach().contiguous() for name, value in found.items()}


def as_trainers_fill(weights: dict[str, Tensor], layers: int = 3) -> dict[str, Tensor]:
    """A file of a trainer's that had a folder: the last layer is the one before, the projection all ones."""
    blocks = "cond_stage_model.model.transformer.resblocks."
    filled = {
        name: weights[name.replace(f"{blocks}{layers - 1}.", f"{blocks}{layers - 2}.")].clone()
        for name in weights
        if name.startswith(f"{blocks}{layers - 1}.")
    }
    width = weights["cond_stage_model.model.text_projection"].shape
    return weights | filled | {"cond_stage_model.model.text_projection": torch.ones(width)}
