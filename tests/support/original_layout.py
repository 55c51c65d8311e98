"""diffusers' folders under the names that single files have: CompVis's, Stability's and OpenCLIP's."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

Block = tuple[str, Callable[[re.Match[str], int], str]]

# diffusers' names -> the original's: of the UNet's and the autoencoder's blocks, then of what is in a block.
UNET_BLOCK: list[Block] = [
    (r"time_embedding\.linear_(\d)", lambda m, k: f"time_embed.{(int(m[1]) - 1) * 2}"),
    (r"conv_in", lambda m, k: "input_blocks.0.0"),
    (r"conv_norm_out", lambda m, k: "out.0"),
    (r"conv_out", lambda m, k: "out.2"),
    (
        r"down_blocks\.(\d)\.resnets\.(\d)",
        lambda m, k: f"input_blocks.{1 + int(m[1]) * (k + 1) + int(m[2])}.0",
    ),
    (
        r"down_blocks\.(\d)\.attentions\.(\d)",
        lambda m, k: f"input_blocks.{1 + int(m[1]) * (k + 1) + int(m[2])}.1",
    ),
    (
        r"down_blocks\.(\d)\.downsamplers\.0\.conv",
        lambda m, k: f"input_blocks.{(int(m[1]) + 1) * (k + 1)}.0.op",
    ),
    (r"mid_block\.resnets\.(\d)", lambda m, k: f"middle_block.{2 * int(m[1])}"),
    (r"mid_block\.attentions\.0", lambda m, k: "middle_block.1"),
    (r"up_blocks\.(\d)\.resnets\.(\d)", lambda m, k: f"output_blocks.{int(m[1]) * (k + 1) + int(m[2])}.0"),
    (r"up_blocks\.(\d)\.attentions\.(\d)", lambda m, k: f"output_blocks.{int(m[1]) * (k + 1) + int(m[2])}.1"),
    (
        r"up_blocks\.(\d)\.upsamplers\.0\.conv",
        lambda m, k: f"output_blocks.{int(m[1]) * (k + 1) + k}.1.conv",  # 2 where attention is 1
    ),
    (r"add_embedding\.linear_(\d)", lambda m, k: f"label_emb.0.{(int(m[1]) - 1) * 2}"),
]
UNET_INNER = {
    ".norm1.": ".in_layers.0.",
    ".conv1.": ".in_layers.2.",
    ".norm2.": ".out_layers.0.",
    ".conv2.": ".out_layers.3.",
    ".time_emb_proj.": ".emb_layers.1.",
    ".conv_shortcut.": ".skip_connection.",
}
VAE_BLOCK: list[Block] = [
    (r"(en|de)coder\.conv_norm_out", lambda m, n: f"{m[1]}coder.norm_out"),
    (r"encoder\.down_blocks\.(\d)\.resnets\.", lambda m, n: f"encoder.down.{m[1]}.block."),
    (r"encoder\.down_blocks\.(\d)\.downsamplers\.0", lambda m, n: f"encoder.down.{m[1]}.downsample"),
    (r"decoder\.up_blocks\.(\d)\.resnets\.", lambda m, n: f"decoder.up.{n - 1 - int(m[1])}.block."),
    (r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m, n: f"decoder.up.{n - 1 - int(m[1])}.upsample"),
    (r"(en|de)coder\.mid_block\.resnets\.(\d)", lambda m, n: f"{m[1]}coder.mid.block_{int(m[2]) + 1}"),
    (r"(en|de)coder\.mid_block\.attentions\.0", lambda m, n: f"{m[1]}coder.mid.attn_1"),
]
VAE_INNER = {
    ".conv_shortcut.": ".nin_shortcut.",
    ".group_norm.": ".norm.",
    ".to_q.": ".q.",
    ".to_k.": ".k.",
    ".to_v.": ".v.",
    ".to_out.0.": ".proj_out.",
}


def renamed(name: str, blocks: list[Block], inner: dict[str, str], number: int) -> str:
    for pattern, replacement in blocks:
        if match := re.match(pattern, name):
            name = replacement(match, number) + name[match.end() :]
            break
    if ".transformer_blocks." not in name:
        for theirs, ours in inner.items():
            name = name.replace(theirs, ours)
    return name


def unet_and_vae(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder's UNet and VAE."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    found = {}
    for name, value in unet.state_dict().items():
        key = renamed(name, UNET_BLOCK, UNET_INNER, unet.config.layers_per_block)
        found["model.diffusion_model." + key] = value
    levels = len(vae.config.block_out_channels)
    for name, value in vae.state_dict().items():
        key = renamed(name, VAE_BLOCK, VAE_INNER, levels)
        linear = ".mid.attn_1." in key and key.endswith("weight") and ".norm." not in key
        found["first_stage_model." + key] = value[:, :, None, None] if linear else value
    return with_upsamplers_last(found)


def with_upsamplers_last(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """An upsampler stands behind the attention of its block, where there is one."""
    attended = {name.split(".1.transformer_blocks")[0] for name in weights if ".1.transformer_blocks" in name}
    return {
        name.replace(".1.conv.", ".2.conv.") if name.split(".1.conv.")[0] in attended else name: value
        for name, value in weights.items()
    }


OPEN_CLIP = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
    ".self_attn.out_proj.": ".attn.out_proj.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}


def as_open_clip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP text model's weights, with its projection, as OpenCLIP names and joins them."""
    found = {}
    for name, value in weights.items():
        key = name
        for theirs, ours in OPEN_CLIP.items():
            key = key.replace(theirs, ours)
        if ".self_attn.q_proj." in key:
            parts = [weights[name.replace("q_proj", f"{each}_proj")] for each in "qkv"]
            found[key.replace(".self_attn.q_proj.", ".attn.in_proj_")] = torch.cat(parts)
        elif key == "text_projection.weight":
            found["text_projection"] = value.T
        elif "_proj." not in key or ".out_proj." in key or ".c_proj." in key:
            found[key] = value
    return found
