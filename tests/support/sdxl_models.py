"""Tiny SDXL models with random weights in the real classes, as a diffusers folder and as a single file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from original_layout import as_open_clip, unet_and_vae
from torch import Tensor

L, G = 64, 128  # how wide the two text encoders are
TIMES = 8  # numbers that each of a picture's six sizes becomes
SCHEDULER = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def random_xl(
    folder: Path, *, projected: bool = True, unet: Mapping[str, Any] | None = None, **scheduler: Any
) -> Path:
    """A whole SDXL of the base model's shape, tiny and untrained; `projected` gives CLIP-L a projection."""
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    from visunex.generate.tokens import clip_tokenizer

    torch.manual_seed(2)
    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (32, 64, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (1, 1, 1),
        "cross_attention_dim": L + G,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": TIMES,
        "projection_class_embeddings_input_dim": 6 * TIMES + G,
    }
    StableDiffusionXLPipeline(
        unet=UNet2DConditionModel(**settings | dict(unet or {})),
        vae=AutoencoderKL(
            block_out_channels=(32,) * 4,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=64,
            scaling_factor=0.13025,
            force_upcast=True,
        ),
        text_encoder=(CLIPTextModelWithProjection if projected else CLIPTextModel)(
            text_config(L, 2, "quick_gelu")
        ),
        text_encoder_2=CLIPTextModelWithProjection(text_config(G, 3, "gelu")),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(pad="!"),
        scheduler=EulerDiscreteScheduler(**SCHEDULER | scheduler),
    ).save_pretrained(folder)
    return folder


def text_config(width: int, layers: int, activation: str) -> Any:
    """A CLIP text encoder's configuration as SDXL's own have it, tiny; CLIP's vocabulary."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        hidden_act=activation,
        bos_token_id=0,
        eos_token_id=2,  # the legacy value that SDXL's own configurations carry
    )


def in_one_file(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder under the names that Stability's single files have."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    found = unet_and_vae(folder)
    first = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    for name, value in first.items():
        key = name if name.startswith("text_model.") else f"text_model.{name}"
        found[f"conditioner.embedders.0.transformer.{key}"] = value
    second = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2").state_dict()
    for name, value in as_open_clip(second).items():
        found[f"conditioner.embedders.1.model.{name}"] = value
    found["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    found["conditioner.embedders.1.model.logit_scale"] = torch.tensor(4.6)
    return {name: value.contiguous() for name, value in found.items()}
