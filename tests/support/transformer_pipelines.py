"""Small random pipelines of the families whose model is a transformer, in diffusers' own classes."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from small_pipelines import VOCABULARY, WORDS, quiet, text_encoder
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

T5_WIDTH = 96


def t5_words() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, in the place of T5's."""
    words = ["<pad>", "</s>", "<unk>", *sorted(set(WORDS.replace(",", "").split()))]
    tokens = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def t5() -> T5EncoderModel:
    settings = {"d_model": T5_WIDTH, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 2}
    return T5EncoderModel(T5Config(vocab_size=VOCABULARY, **settings)).eval()


def vae(channels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        latent_channels=channels,
        sample_size=16,
        shift_factor=0.1,
    ).eval()


def sd3_pipe(
    words: Callable[[], Any], widths: tuple[int, int] = (32, 48), sizes: tuple[int, int] = (32, 40)
) -> StableDiffusion3Pipeline:
    torch.manual_seed(0)
    first, second = words(), words()
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=T5_WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=sum(sizes),
        out_channels=16,
    ).eval()
    return quiet(
        StableDiffusion3Pipeline(
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae(16),
            text_encoder=text_encoder(first, widths[0], sizes[0], 3),
            tokenizer=first,
            text_encoder_2=text_encoder(second, widths[1], sizes[1], 4, hidden_act="gelu"),
            tokenizer_2=second,
            text_encoder_3=t5(),
            tokenizer_3=t5_words(),
        )
    )


def flux_pipe(words: Callable[[], Any], width: int = 32, *, guidance_embeds: bool = False) -> FluxPipeline:
    torch.manual_seed(0)
    tokenizer = words()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=width,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_embeds,
    ).eval()
    return quiet(
        FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae(),
            text_encoder=text_encoder(tokenizer, width, None, 3),
            tokenizer=tokenizer,
            text_encoder_2=t5(),
            tokenizer_2=t5_words(),
            transformer=transformer,
        )
    )
