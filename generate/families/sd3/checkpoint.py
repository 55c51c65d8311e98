"""Stable Diffusion 3 and 3.5 in one file with their CLIP text encoders -> the model's parts, without T5."""

import logging
import math
from pathlib import Path
from typing import Any

import torch

from ...checkpoint.reader import Weights, numbers_in
from ...tokens import clip_tokenizer
from ..outline import SAMPLE_SIZES
from ..single_file import (
    HEAD_WIDTH,
    UNET,
    VAE,
    check_configs,
    check_parts,
    clip_text_config,
    diffusers_transformer,
    diffusers_vae,
    put_weights,
    vae_config,
    whole,
)
from .parts import Parts

__all__ = ["load_checkpoint"]

TEXT, TEXT_2 = (f"text_encoders.{name}.transformer." for name in ("clip_l", "clip_g"))
T5 = "text_encoders.t5xxl."
NAMES = {UNET: "transformer", VAE: "VAE", TEXT: "text encoder", TEXT_2: "second text encoder"}
SCHEDULE = {"num_train_timesteps": 1000, "shift": 3.0}
LATENTS = {"scaling_factor": 1.5305, "shift_factor": 0.0609}

_log = logging.getLogger(__name__)


def load_checkpoint(weights: Weights, path: Path, dtype: torch.dtype) -> Parts:
    """The parts in the weights of the file `path`: transformer and VAE in `dtype`, the text encoders in fp32.

    T5 is left out, whose tokenizer no file holds. Raises CheckpointError for weights that are not whole.
    """
    check_parts(weights, NAMES, path)
    if any(name.startswith(T5) for name in weights):
        _log.warning(
            "%s holds T5 without its tokenizer: prompts are read by CLIP alone, of 75 tokens; the model's "
            "folder, or its name on the Hub, has both", path
        )  # fmt: skip
    with whole(path, "Stable Diffusion 3"):
        configs: dict[str, dict[str, Any]] = {
            "transformer": _transformer_config(weights),
            "vae": {**vae_config(weights), **LATENTS, "sample_size": 1024},
            "text_encoder": _text_config(weights, TEXT, "quick_gelu"),
            "text_encoder_2": _text_config(weights, TEXT_2, "gelu"),
        }
        check_configs(configs, path)
        return Parts(
            transformer=diffusers_transformer(configs["transformer"], weights, dtype),
            vae=diffusers_vae(configs["vae"], weights, dtype),
            text_encoder=_text_model(weights, configs["text_encoder"], TEXT),
            tokenizer=clip_tokenizer(),
            text_encoder_2=_text_model(weights, configs["text_encoder_2"], TEXT_2),
            tokenizer_2=clip_tokenizer(pad="!"),
            scheduler_config=SCHEDULE,
        )


def _transformer_config(weights: Weights) -> dict[str, Any]:
    """Settings of diffusers' transformer that fit the weights."""
    patches, context = weights[UNET + "x_embedder.proj.weight"], weights[UNET + "context_embedder.weight"]
    blocks = UNET.replace(".", r"\.") + r"joint_blocks\.(\d+)\."
    width, patch = patches.shape[0], patches.shape[2]
    twice = [int(name.split(".")[3]) for name in weights if name.endswith("x_block.attn2.qkv.weight")]
    return {
        "sample_size": SAMPLE_SIZES["sd3"],
        "patch_size": patch,
        "in_channels": patches.shape[1],
        "out_channels": weights[UNET + "final_layer.linear.weight"].shape[0] // patch**2,
        "num_layers": len(numbers_in(weights, blocks + r"x_block\.attn\.qkv\.weight")),
        "attention_head_dim": min(HEAD_WIDTH, width),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "joint_attention_dim": context.shape[1],
        "caption_projection_dim": context.shape[0],
        "pooled_projection_dim": weights[UNET + "y_embedder.mlp.0.weight"].shape[1],
        "pos_embed_max_size": math.isqrt(weights[UNET + "pos_embed"].shape[1]),
        "dual_attention_layers": sorted(twice),
        "qk_norm": "rms_norm" if any(name.endswith("attn.ln_q.weight") for name in weights) else None,
    }


def _text_config(weights: Weights, prefix: str, activation: str) -> dict[str, Any]:
    """Settings of transformers' CLIP text model that fit the weights under a prefix."""
    found = clip_text_config(weights, f"{prefix}text_model.")
    projection = weights.get(f"{prefix}text_projection.weight")
    size = found["hidden_size"] if projection is None else projection.shape[0]
    return {**found, "hidden_act": activation, "projection_dim": size}


def _text_model(weights: Weights, config: dict[str, Any], prefix: str) -> Any:
    """transformers' CLIP text model in fp32; where a file leaves out the projection it is the identity."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    with torch.device("meta"):
        model = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    found = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    found.setdefault("text_projection.weight", torch.eye(config["hidden_size"]))
    put_weights(model, found, prefix, torch.float32)
    places = model.text_model.embeddings  # its numbers of places are no weights
    places.position_ids = torch.arange(config["max_position_embeddings"])[None]
    return model.eval()
