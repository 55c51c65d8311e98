"""SDXL in one file: Stability's layout of the weights -> the model's parts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
    clip_text_model,
    diffusers_unet,
    diffusers_vae,
    firsts_of,
    noise_schedule,
    put_weights,
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
# How the base model's own scheduler steps, where a sampler has the choice.
SCHEDULE = {
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def load_checkpoint(weights: Weights, path: Path, dtype: torch.dtype) -> Parts:
    """The parts in the weights of the file `path`: the UNet in `dtype`, VAE and text encoders in fp32.

    The VAE is so because nothing in a file says whether it is one that fits into fp16. Raises CheckpointError
    for weights that are not whole.
    """
    weights = renamed(weights, ANCHORS)
    check_parts(weights, NAMES, path)
    with whole(path, "SDXL"):
        second = text_config_2(weights)
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
            text_encoder_2=text_model_2(weights, second),
            tokenizer_2=clip_tokenizer(pad="!"),
            scheduler_config=noise_schedule(weights, path, SCHEDULE),
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
        "attention_head_dim": [max(1, width // HEAD_WIDTH) for width in levels["block_out_channels"]],
        "use_linear_projection": _is_linear(weights),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (taken - feature) // SIZES,
        "projection_class_embeddings_input_dim": taken,
        "sample_size": SAMPLE_SIZES["sdxl"],
    }


def _transformers(weights: Weights, block: int) -> int:
    """How many transformers one block of the UNet has on its way down; 1 where it has no attention."""
    front = f"{UNET}input_blocks.{block}.1.transformer_blocks."
    return max(1, len({name.removeprefix(front).split(".")[0] for name in weights if name.startswith(front)}))


def _is_linear(weights: Weights) -> bool:
    """Whether attention projects by linear layers, as in SDXL, or by convolutions."""
    return any(name.endswith(".proj_in.weight") and value.ndim == 2 for name, value in weights.items())


def text_config_2(weights: Weights) -> dict[str, Any]:
    """Settings of transformers' CLIP text model that fit OpenCLIP's weights."""
    vocabulary, width = weights[TEXT_2 + "token_embedding.weight"].shape
    blocks = TEXT_2 + "transformer.resblocks."
    tokens = clip_tokenizer()
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": weights[f"{blocks}0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": len(
            numbers_in(weights, blocks.replace(".", r"\.") + r"(\d+)\.mlp\.c_fc\.weight")
        ),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": weights[TEXT_2 + "positional_embedding"].shape[0],
        "projection_dim": _projection(weights).shape[1],
        "hidden_act": "gelu",
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": 0,
    }


def _projection(weights: Weights) -> Tensor:
    """The text projection as OpenCLIP has it, `[D, D_proj]`; other programs save the linear layer's."""
    layer = weights.get(TEXT_2 + "text_projection.weight")
    return weights[TEXT_2 + "text_projection"] if layer is None else layer.T


def text_model_2(weights: Weights, config: Mapping[str, Any]) -> Any:
    """transformers' CLIP text model with its projection, in fp32, of OpenCLIP's weights."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    with torch.device("meta"):
        model = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    own = {name: value for name, value in weights.items() if name.startswith(TEXT_2)}
    converted = convert_open_clip_checkpoint(
        model, {**own, TEXT_2 + "text_projection": _projection(weights)}, prefix=TEXT_2
    )
    put_weights(model, converted, TEXT_2, torch.float32)
    places = model.text_model.embeddings  # its numbers of places are no weights
    places.position_ids = torch.arange(config["max_position_embeddings"])[None]
    return model.eval()
