"""A tiny Stable Diffusion 3 with random weights and CLIP's own vocabulary: as a folder, and as one file."""

import re
from pathlib import Path
from typing import Any

import torch
from original_layout import VAE_BLOCK, VAE_INNER, renamed
from sdxl_models import G, L, text_config
from torch import Tensor

WIDTH = 64
INNER = {  # diffusers' names -> Stability's, of a block and around them
    r"^transformer_blocks\.(\d+)\.norm1\.linear\.": r"joint_blocks.\1.x_block.adaLN_modulation.1.",
    r"^transformer_blocks\.(\d+)\.norm1_context\.linear\.": (
        r"joint_blocks.\1.context_block.adaLN_modulation.1."
    ),
    r"^transformer_blocks\.(\d+)\.(attn2?)\.to_out\.0\.": r"joint_blocks.\1.x_block.\2.proj.",
    r"^transformer_blocks\.(\d+)\.attn\.to_add_out\.": r"joint_blocks.\1.context_block.attn.proj.",
    r"^transformer_blocks\.(\d+)\.(attn2?)\.norm_(q|k)\.": r"joint_blocks.\1.x_block.\2.ln_\3.",
    r"^transformer_blocks\.(\d+)\.attn\.norm_added_(q|k)\.": r"joint_blocks.\1.context_block.attn.ln_\2.",
    r"^transformer_blocks\.(\d+)\.(attn2?)\.to_q\.": r"joint_blocks.\1.x_block.\2.qkv.",
    r"^transformer_blocks\.(\d+)\.attn\.add_q_proj\.": r"joint_blocks.\1.context_block.attn.qkv.",
    r"^transformer_blocks\.(\d+)\.ff\.net\.0\.proj\.": r"joint_blocks.\1.x_block.mlp.fc1.",
    r"^transformer_blocks\.(\d+)\.ff\.net\.2\.": r"joint_blocks.\1.x_block.mlp.fc2.",
    r"^transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj\.": r"joint_blocks.\1.context_block.mlp.fc1.",
    r"^transformer_blocks\.(\d+)\.ff_context\.net\.2\.": r"joint_blocks.\1.context_block.mlp.fc2.",
    r"^pos_embed\.pos_embed": "pos_embed",
    r"^pos_embed\.proj\.": "x_embedder.proj.",
    r"^time_text_embed\.timestep_embedder\.linear_1\.": "t_embedder.mlp.0.",
    r"^time_text_embed\.timestep_embedder\.linear_2\.": "t_embedder.mlp.2.",
    r"^time_text_embed\.text_embedder\.linear_1\.": "y_embedder.mlp.0.",
    r"^time_text_embed\.text_embedder\.linear_2\.": "y_embedder.mlp.2.",
    r"^norm_out\.linear\.": "final_layer.adaLN_modulation.1.",
    r"^proj_out\.": "final_layer.linear.",
}
JOINED = re.compile(r"\.(to_[kv]|add_[kv]_proj)\.")


def random_sd3(folder: Path) -> Any:
    """The pipeline, which is saved as a folder: two layers, of which one attends twice; no T5."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import CLIPTextModelWithProjection

    from visunex.generate.tokens import clip_tokenizer

    torch.manual_seed(4)
    pipe = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=128,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=WIDTH,
            num_attention_heads=1,
            joint_attention_dim=L + G,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=L + G,
            pos_embed_max_size=16,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKL(
            block_out_channels=(32, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=16,
            sample_size=1024,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=CLIPTextModelWithProjection(text_config(L, 2, "quick_gelu")),
        tokenizer=clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(text_config(G, 3, "gelu")),
        tokenizer_2=clip_tokenizer(pad="!"),
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


def in_one_file(pipe: Any) -> dict[str, Tensor]:
    """A pipeline's weights under the names that Stability's single files have."""
    own = pipe.transformer.state_dict()
    last = f"transformer_blocks.{pipe.transformer.config.num_layers - 1}.norm1_context."
    found = {}
    for name, value in own.items():
        if JOINED.search(name):
            continue
        whole = _joined(own, name) if re.search(r"\.(to_q|add_q_proj)\.", name) else value
        if name.startswith(("norm_out.", last)):  # scale and shift change places
            whole = torch.cat([*reversed(whole.chunk(2))])
        found["model.diffusion_model." + _renamed(name)] = whole
    for name, value in pipe.vae.state_dict().items():
        key = renamed(name, VAE_BLOCK, VAE_INNER, len(pipe.vae.config.block_out_channels))
        linear = ".mid.attn_1." in key and key.endswith("weight") and ".norm." not in key
        found["first_stage_model." + key] = value[:, :, None, None] if linear else value
    for part, called in (("text_encoder", "clip_l"), ("text_encoder_2", "clip_g")):
        for name, value in getattr(pipe, part).state_dict().items():
            found[f"text_encoders.{called}.transformer.{name}"] = value
    return {name: value.contiguous() for name, value in found.items()}


def _joined(own: dict[str, Tensor], name: str) -> Tensor:
    return torch.cat([own[name.replace("to_q", f"to_{n}").replace("add_q", f"add_{n}")] for n in "qkv"])


def _renamed(name: str) -> str:
    for pattern, ours in INNER.items():
        if re.search(pattern, name):
            return re.sub(pattern, ours, name)
    return name
