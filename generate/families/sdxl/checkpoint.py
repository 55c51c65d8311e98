"""SDXL in one file: Stability's layout of the weights -> the model's parts."""

from pathlib import Path
from typing import Any

import torch

from ...checkpoint.reader import Weights
from ...tokens import clip_tokenizer
from ..open_clip import projection, text_config, text_model
from ..outline import SAMPLE_SIZES
from ..single_file import (
    AS_DIFFUSERS,
    UNET,
    VAE,
    check_configs,
    check_parts,
    clip_text_config,
    clip_text_model,
    diffusers_unet,
    diffusers_vae,
    firsts_of,
    heads_of,
    noise_schedule,
    renamed,
    unet_levels,
    vae_config,
    whole,
)
from .parts import Parts

__all__ = ["SCALING", "load_checkpoint"]

TEXT = "conditioner.embedders.0.transformer.text_model."
TEXT_2 = "conditioner.embedders.1.model."  # as OpenCLIP names its weights
ANCHORS = {
    TEXT: ("embeddings.token_embedding.weight", "embedders.0."),
    TEXT_2: ("token_embedding.weight", "embedders.1."),
}
NAMES = {UNET: "UNet", VAE: "VAE", TEXT: "text encoder", TEXT_2: "second text encoder"}
SCALING = 0.13025  # of SDXL's latents
SIZES = 6  # numbers of a picture's size and place that the UNet takes


def load_checkpoint(weights: Weights, path: Path, dtype: torch.dtype) -> Parts:
    """The parts in the weights of the file `path`: the UNet in `dtype`, VAE and text encoders in fp32.

    The VAE is so because nothing in a file says whether it is one that fits into fp16. Raises CheckpointError
    for weights that are not whole.
    """
    weights = renamed(weights, ANCHORS)
    check_parts(weights, NAMES, path)
    with whole(path, "SDXL"):
        feature = projection(weights, TEXT_2)
        second = text_config(weights, TEXT_2) | {"projection_dim": feature.shape[1]}
        configs: dict[str, dict[str, Any]] = {
            "unet": unet_config(weights, second["projection_dim"]),
            "vae": {
                **vae_config(weights),
                "scaling_factor": SCALING,
                "sample_size": 1024,
                "force_upcast": True,
            },
            "text_encoder": clip_text_config(weights, TEXT),
            "text_encoder_2": second,
        }
        check_configs(configs, path)
        return Parts(
            unet=diffusers_unet(configs["unet"], weights, dtype),
            vae=diffusers_vae(configs["vae"], weights, torch.float32),
            text_encoder=clip_text_model(weights, configs["text_encoder"], TEXT),
            tokenizer=clip_tokenizer(),
            text_encoder_2=text_model(weights, second, TEXT_2, feature),
            tokenizer_2=clip_tokenizer(pad="!"),
            scheduler_config=noise_schedule(weights, path, AS_DIFFUSERS),
        )


def unet_config(weights: Weights, feature: int) -> dict[str, Any]:
    """Settings of diffusers' UNet that fit the weights; it takes a text feature of `feature` numbers."""
    levels = unet_levels(weights)
    taken = weights[UNET + "label_emb.0.0.weight"].shape[1]
    if (taken - feature) % SIZES or taken <= feature:
        raise ValueError(
            f"its UNet takes {taken} numbers beside the prompt, which no text encoder here gives"
        )
    return {
        **levels,
        "transformer_layers_per_block": [_transformers(weights, block) for block in firsts_of(weights)],
        "attention_head_dim": heads_of(levels["block_out_channels"]),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (taken - feature) // SIZES,
        "projection_class_embeddings_input_dim": taken,
        "sample_size": SAMPLE_SIZES["sdxl"],
    }


def _transformers(weights: Weights, block: int) -> int:
    """How many transformers one block of the UNet has on its way down; 1 where it has no attention."""
    front = f"{UNET}input_blocks.{block}.1.transformer_blocks."
    return max(1, len({name.removeprefix(front).split(".")[0] for name in weights if name.startswith(front)}))
