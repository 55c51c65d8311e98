"""Stable Diffusion 1.x in one file: CompVis's layout of the weights -> the model's parts."""

from pathlib import Path
from typing import Any

import torch

from ...checkpoint.reader import Weights
from ...tokens import clip_tokenizer
from ..parts import UNetParts
from ..single_file import (
    UNET,
    VAE,
    check_configs,
    check_parts,
    clip_text_config,
    clip_text_model,
    diffusers_unet,
    diffusers_vae,
    noise_schedule,
    renamed,
    unet_levels,
    vae_config,
    whole,
)

__all__ = ["SCALING", "load_checkpoint"]

TEXT = "cond_stage_model.transformer.text_model."
ANCHORS = {TEXT: ("embeddings.token_embedding.weight", "cond_stage_model.")}
NAMES = {UNET: "UNet", VAE: "VAE", TEXT: "text encoder"}
HEADS = 8  # of every attention in Stable Diffusion 1's UNet: not to be seen in the weights' shapes
SCALING = 0.18215  # of Stable Diffusion 1's latents


def load_checkpoint(weights: Weights, path: Path, dtype: torch.dtype) -> UNetParts:
    """The parts in the weights of the file `path`: UNet and VAE in `dtype`, the text encoder in fp32.

    Raises CheckpointError for weights that are not whole.
    """
    weights = renamed(weights, ANCHORS)
    check_parts(weights, NAMES, path)
    with whole(path, "Stable Diffusion 1.x"):
        configs: dict[str, dict[str, Any]] = {
            "unet": {**unet_levels(weights), "attention_head_dim": HEADS, "sample_size": 64},
            "vae": {**vae_config(weights), "scaling_factor": SCALING, "sample_size": 512},
            "text_encoder": clip_text_config(weights, TEXT),
        }
        check_configs(configs, path)
        return UNetParts(
            unet=diffusers_unet(configs["unet"], weights, dtype),
            vae=diffusers_vae(configs["vae"], weights, dtype),
            text_encoder=clip_text_model(weights, configs["text_encoder"], TEXT),
            tokenizer=clip_tokenizer(),
            scheduler_config=noise_schedule(weights, path, {}),
        )
