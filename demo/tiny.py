"""Where the committed tiny models are, and how to load their parts.

`CLIP_FOLDER` is an open_clip folder (`CLIP_NAME` is what `open_clip.create_model` takes),
`SD_FOLDER` a diffusers folder, `JUDGE_FOLDER` a second CLIP's, of another architecture, which judges what was
made with the first. They exist so that everything runs offline in a minute, and are no substitute for the
real models.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch and transformers take seconds to import, and most who ask only want to know where
    from torch import Tensor
    from transformers import CLIPTextModelWithProjection

__all__ = [
    "CLIP_FOLDER",
    "CLIP_FOLDERS",
    "CLIP_NAME",
    "JUDGE_FOLDER",
    "JUDGE_MODEL",
    "SD_FOLDER",
    "TINY_MODEL",
    "block_names",
    "text_projection",
    "transformers_text_encoder",
]

TINY_MODEL = "visunex-tiny"  # what the CLIP and the Stable Diffusion are called, wherever a model is named
JUDGE_MODEL = "visunex-judge"
WEIGHTS = Path(__file__).parent / "weights"
CLIP_FOLDER = WEIGHTS / "clip"
JUDGE_FOLDER = WEIGHTS / "judge"
SD_FOLDER = WEIGHTS / "sd"
CLIP_FOLDERS = {TINY_MODEL: CLIP_FOLDER, JUDGE_MODEL: JUDGE_FOLDER}
CLIP_NAME = f"local-dir:{CLIP_FOLDER}"


def transformers_text_encoder(folder: Path = CLIP_FOLDER) -> "CLIPTextModelWithProjection":
    """The text encoder of an open_clip folder as transformers' model, float32."""
    from safetensors.torch import load_file
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    text = config["text_cfg"]
    encoder = CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=text["vocab_size"],
            hidden_size=text["width"],
            intermediate_size=4 * text["width"],
            projection_dim=config["embed_dim"],
            num_hidden_layers=text["layers"],
            num_attention_heads=text["heads"],
            max_position_embeddings=text["context_length"],
            hidden_act="quick_gelu" if config["quick_gelu"] else "gelu",
            bos_token_id=text["vocab_size"] - 2,
            eos_token_id=text["vocab_size"] - 1,
            pad_token_id=text["vocab_size"] - 1,
        )
    )
    weights = transformers_names(load_file(folder / "open_clip_model.safetensors"))
    encoder.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return encoder.eval()


def text_projection(folder: Path = CLIP_FOLDER) -> "Tensor":
    """The projection [768, 128], float32, from the text encoder's width to that of the embeddings.

    A diffusers folder has no place for it, as Stable Diffusion never projects; aesthetic gradients do.
    """
    from safetensors.torch import load_file

    return load_file(folder / "open_clip_model.safetensors")["text_projection"].T.float().contiguous()


def transformers_names(weights: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """The text part of an open_clip state dict under transformers' names."""
    inner = "text_model."
    named = {
        inner + "embeddings.token_embedding.weight": weights["token_embedding.weight"],
        inner + "embeddings.position_embedding.weight": weights["positional_embedding"],
        inner + "final_layer_norm.weight": weights["ln_final.weight"],
        inner + "final_layer_norm.bias": weights["ln_final.bias"],
        "text_projection.weight": weights["text_projection"].T.contiguous(),
    }
    for name, tensor in weights.items():
        if name.startswith("transformer.resblocks."):
            named |= {inner + "encoder.layers." + key: part for key, part in block_names(name, tensor)}
    return named


def block_names(name: str, tensor: "Tensor") -> "list[tuple[str, Tensor]]":
    """One tensor of a transformer block, as `LAYER.NAME` for transformers; the joint one falls into three."""
    layer, rest = name.removeprefix("transformer.resblocks.").split(".", 1)
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        parts = zip("qkv", tensor.chunk(3), strict=True)
        return [(f"{layer}.self_attn.{letter}_proj.{kind}", part.contiguous()) for letter, part in parts]
    for ours, theirs in (
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
    ):
        rest = rest.replace(ours, theirs)
    return [(f"{layer}.{rest}", tensor)]
