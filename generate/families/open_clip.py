"""OpenCLIP's text encoders in one file -> transformers' text model: what SDXL's and 2.x's files share."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.reader import Weights, numbers_in
from ..tokens import clip_tokenizer
from .single_file import HEAD_WIDTH, put_weights

__all__ = ["projection", "text_config", "text_model"]

NEUTRAL = "open_clip."  # under Stable Diffusion 2's own prefix diffusers leaves the last layer out


def text_config(weights: Weights, prefix: str) -> dict[str, Any]:
    """Settings of transformers' CLIP text model that fit OpenCLIP's weights under `prefix`."""
    vocabulary, width = weights[prefix + "token_embedding.weight"].shape
    blocks = prefix + "transformer.resblocks."
    tokens = clip_tokenizer()
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": weights[f"{blocks}0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": len(
            numbers_in(weights, blocks.replace(".", r"\.") + r"(\d+)\.mlp\.c_fc\.weight")
        ),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": weights[prefix + "positional_embedding"].shape[0],
        "projection_dim": width,
        "hidden_act": "gelu",
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": 0,
    }


def projection(weights: Weights, prefix: str) -> Tensor:
    """The text projection as OpenCLIP has it, `[D, D_proj]`; other programs save the linear layer's."""
    layer = weights.get(prefix + "text_projection.weight")
    return weights[prefix + "text_projection"] if layer is None else layer.T


def text_model(weights: Weights, config: Mapping[str, Any], prefix: str, projected: Tensor) -> Any:
    """transformers' CLIP text model in fp32, with all layers, and with a projection `[D, D_proj]`."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    with torch.device("meta"):
        model = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    own = {
        NEUTRAL + name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
    converted = convert_open_clip_checkpoint(
        model, {**own, NEUTRAL + "text_projection": projected}, prefix=NEUTRAL
    )
    put_weights(model, converted, prefix, torch.float32)
    places = model.text_model.embeddings  # its numbers of places are no weights
    places.position_ids = torch.arange(config["max_position_embeddings"])[None]
    return model.eval()
