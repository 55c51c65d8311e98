"""Small random pipelines in diffusers' own classes, and the plain method that shares no code with ours."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

WORDS = "a castle at night by the sea, an old ship, one red fox"
VOCABULARY = 560


def text_encoder(tokenizer: Any, width: int, size: int | None, layers: int, **changes: Any) -> Any:
    """A CLIP text encoder of random weights, with a projection to `size` where one is given."""
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": max(width // 64, 2),
        "projection_dim": size or width,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        # The library's own start is so near to nothing that blocks hardly differ.
        "initializer_factor": 1.5 if width < 512 else 1.0,
    }
    kind = CLIPTextModelWithProjection if size else CLIPTextModel
    return kind(CLIPTextConfig(**(settings | changes))).eval()


def unet(**settings: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=8,
        **settings,
    ).eval()


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=16,
    ).eval()


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd1_pipe(tokenizer: Any, width: int = 32, layers: int = 3, **changes: Any) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    return quiet(
        StableDiffusionPipeline(
            vae=vae(),
            unet=unet(cross_attention_dim=width),
            text_encoder=text_encoder(tokenizer, width, None, layers, **changes),
            tokenizer=tokenizer,
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def sdxl_pipe(
    words: Callable[[], Any],
    widths: tuple[int, int] = (32, 48),
    layers: tuple[int, int] = (3, 4),
    size: int = 40,
) -> StableDiffusionXLPipeline:
    torch.manual_seed(0)
    first, second = words(), words()
    return quiet(
        StableDiffusionXLPipeline(
            vae=vae(),
            unet=unet(
                cross_attention_dim=sum(widths),
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=size + 6 * 8,
            ),
            text_encoder=text_encoder(first, widths[0], None, layers[0]),
            text_encoder_2=text_encoder(second, widths[1], size, layers[1], hidden_act="gelu"),
            tokenizer=first,
            tokenizer_2=second,
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
            add_watermarker=False,
        )
    )


def a_vector(size: int, seed: int = 5) -> Tensor:
    return torch.randn(1, size, generator=torch.Generator().manual_seed(seed)) * 3


def a_projection(width: int, size: int) -> Tensor:
    return torch.randn(size, width, generator=torch.Generator().manual_seed(6)) * width**-0.5


def moved_plainly(
    encoder: Any, ids: Tensor, end: int, weight: Tensor, target: Tensor, steps: int, lr: float
) -> Any:
    """A deep copy of an encoder after Adam's steps up the cosine; the projection `weight` stands still."""
    moving = copy.deepcopy(encoder).float()
    text_model = getattr(moving, "text_model", moving)
    adam = torch.optim.Adam(text_model.parameters(), lr=lr)
    for parameter in text_model.parameters():
        parameter.requires_grad_()
    with torch.enable_grad():
        for _ in range(steps):
            feature = text_model(ids).last_hidden_state[0, end] @ weight.float().T
            adam.zero_grad()
            torch.nn.functional.cosine_similarity(feature, target[0].float(), dim=0).neg().backward()
            adam.step()
    return moving
