"""Stable Diffusion 1.x in one file: CompVis's layout of the weights -> the model's parts.

The sizes of the parts are read from the weights themselves, so nothing has to be fetched to know them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from visunex.base.errors import first_line
from visunex.base.machine import is_memory_shortage

from ...checkpoint.bounds import check_config
from ...checkpoint.kinds import WANTED, kind_of
from ...checkpoint.reader import Weights, numbers_in, read_weights
from ...errors import CheckpointError
from ...tokens import clip_tokenizer
from .parts import Parts

__all__ = ["load_checkpoint"]

UNET_KIND, VAE_KIND = "UNet2DConditionModel", "AutoencoderKL"
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
# Where each part's names begin -> the end of a name that every such part has, and what stands before it.
PARTS = {
    UNET: ("input_blocks.0.0.weight", "diffusion_model."),
    VAE: ("encoder.conv_in.weight", "first_stage_model."),
    TEXT + "text_model.": ("embeddings.token_embedding.weight", "cond_stage_model."),
}
HEADS = 8  # of every attention in Stable Diffusion 1's UNet: not to be seen in the weights' shapes
HEAD_WIDTH = 64  # of every CLIP text encoder
LARGEST_CONFIG = 1 << 16  # bytes
SCALING = 0.18215  # of Stable Diffusion 1's latents
SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}


def load_checkpoint(path: Path, dtype: torch.dtype) -> Parts:
    """The parts in the file `path`: UNet and VAE in `dtype`, the text encoder in fp32.

    Raises CheckpointError for a file that is unreadable, asks for code to be run, or holds something else.
    """
    weights = in_compvis_layout(read_weights(path))
    _check_kind(weights, path)
    _check_numbers(weights, path)
    try:
        configs = {
            "unet": unet_config(weights),
            "vae": vae_config(weights),
            "text_encoder": text_config(weights),
        }
        for part, config in configs.items():
            check_config(part, config, str(path))
        return Parts(
            unet=_diffusers_part(UNET_KIND, configs["unet"], weights, dtype),
            vae=_diffusers_part(VAE_KIND, configs["vae"], weights, dtype),
            text_encoder=_text_encoder(weights, configs["text_encoder"]),
            tokenizer=clip_tokenizer(),
            scheduler_config=noise_schedule(weights, path),
        )
    except (LookupError, ValueError, TypeError, RuntimeError) as error:
        if is_memory_shortage(error):
            raise
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else first_line(error)
        raise CheckpointError(f"{path} is not a whole Stable Diffusion 1.x checkpoint: {reason}") from None


def in_compvis_layout(weights: Weights) -> Weights:
    """The weights under the names of CompVis's own files, whatever stands in front of each part's names.

    Other programs wrap a model (`module.`, `model.`), leave `text_model` out (NovelAI's files) or put the
    text encoder elsewhere (`cond_stage_model.clip_l.`). A part is found by a weight that every such part has.
    """
    fronts = {
        front: ours for ours, (anchor, holder) in PARTS.items() if (front := _front(weights, anchor, holder))
    }
    if all(front == ours for front, ours in fronts.items()):
        return weights
    longest = sorted(fronts, key=len, reverse=True)

    def renamed(name: str) -> str:
        front = next((each for each in longest if name.startswith(each)), None)
        return name if front is None else fronts[front] + name.removeprefix(front)

    return {renamed(name): value for name, value in weights.items()}


def _front(weights: Weights, anchor: str, holder: str) -> str | None:
    """What stands before `anchor` in the name of the weight that is nearest to the usual place."""
    found = [name.removesuffix(anchor) for name in weights if name.endswith(anchor) and holder in name]
    return min(found, key=len, default=None)


def _check_kind(weights: Weights, path: Path) -> None:
    """Raise CheckpointError, saying what the file is, for one that is no whole Stable Diffusion 1.x."""
    if kind := kind_of({name: tuple(value.shape) for name, value in weights.items()}):
        raise CheckpointError(f"{path} is {kind.what}, but {WANTED}: {kind.advice}")
    for prefix, part in ((UNET, "UNet"), (VAE, "VAE"), (TEXT, "text encoder")):
        if not any(name.startswith(prefix) for name in weights):
            raise CheckpointError(
                f"{path} holds no {part} (no `{prefix}...`), but {WANTED}: give --model a whole checkpoint"
            )


def _check_numbers(weights: Weights, path: Path) -> None:
    """Raise CheckpointError for weights that are no floating-point numbers: what is quantised has others."""
    for name, value in weights.items():
        own = name.startswith((UNET, VAE, TEXT)) and not name.endswith("position_ids")
        if own and not value.is_floating_point():
            dtype = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{path} holds {name} as {dtype}, not as floating-point numbers: take the model as it was "
                "before it was quantised"
            )


def noise_schedule(weights: Weights, path: Path) -> dict[str, Any]:
    """The noise schedule and what the UNet estimates, by markers among the weights or the config beside them.

    Trainers put empty tensors `v_pred` and `ztsnr` into the file; CompVis's config is called as it, `.yaml`.
    """
    schedule: dict[str, Any] = dict(SCHEDULE)
    if "v_pred" in weights or _config_says_v(path.with_suffix(".yaml")):
        schedule["prediction_type"] = "v_prediction"
    if "ztsnr" in weights:
        schedule["rescale_betas_zero_snr"] = True
    return schedule


def _config_says_v(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            text = file.read(LARGEST_CONFIG).decode("utf-8", "replace")
    except OSError:
        return False
    return bool(re.search(r"""(?m)^\s*parameterization:\s*["']?v["']?\s*(#.*)?$""", text))


def unet_config(weights: Weights) -> dict[str, Any]:
    """Settings of diffusers' UNet that fit the original's weights: its levels, widths and attentions."""
    downs = numbers_in(weights, UNET + r"input_blocks\.(\d+)\.0\.op\.weight")
    per_level = downs[0] - 1
    first = weights[UNET + "input_blocks.0.0.weight"]
    firsts = [1 + level * (per_level + 1) for level in range(len(downs) + 1)]
    attends = [f"{UNET}input_blocks.{block}.1.norm.weight" in weights for block in firsts]
    keys = next((value for name, value in weights.items() if name.endswith("attn2.to_k.weight")), None)
    if keys is None:
        raise KeyError("every weight called attn2.to_k.weight")
    if first.shape[1] != (given := weights[UNET + "out.2.weight"].shape[0]):
        raise ValueError(f"its UNet takes {first.shape[1]} channels and gives {given}")
    return {
        "in_channels": first.shape[1],
        "out_channels": first.shape[1],
        "block_out_channels": [
            weights[f"{UNET}input_blocks.{block}.0.out_layers.3.weight"].shape[0] for block in firsts
        ],
        "layers_per_block": per_level,
        "down_block_types": ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)],
        "cross_attention_dim": keys.shape[1],
        "attention_head_dim": HEADS,
        "sample_size": 64,
    }


def vae_config(weights: Weights) -> dict[str, Any]:
    """Settings of diffusers' autoencoder that fit the original's weights."""
    levels = len(numbers_in(weights, VAE + r"encoder\.down\.(\d+)\.block\.0\.conv1\.weight"))
    return {
        "block_out_channels": [
            weights[f"{VAE}encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in range(levels)
        ],
        "layers_per_block": len(numbers_in(weights, VAE + r"encoder\.down\.0\.block\.(\d+)\.conv1\.weight")),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "latent_channels": weights[VAE + "post_quant_conv.weight"].shape[1],
        "scaling_factor": SCALING,
        "sample_size": 512,
    }


def text_config(weights: Weights) -> dict[str, Any]:
    """Settings of transformers' CLIP text model that fit the weights."""
    inner = TEXT + "text_model."
    vocabulary, width = weights[inner + "embeddings.token_embedding.weight"].shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": weights[inner + "encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": len(numbers_in(weights, inner + r"encoder\.layers\.(\d+)\.mlp\.fc1\.weight")),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": weights[inner + "embeddings.position_embedding.weight"].shape[0],
        "projection_dim": width,
        "hidden_act": "quick_gelu",
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def _text_encoder(weights: Weights, config: Mapping[str, Any]) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(CLIPTextConfig(**config))
    # transformers 5.6 took the `text_model` level out of the names.
    prefix = TEXT if hasattr(model, "text_model") else TEXT + "text_model."
    found = {
        name.removeprefix(prefix): value.float()
        for name, value in weights.items()
        if name.startswith(prefix) and not name.endswith("position_ids")
    }
    model.load_state_dict(found)
    return model.eval()


def _diffusers_part(kind: str, config: Mapping[str, Any], weights: Weights, dtype: torch.dtype) -> Any:
    """diffusers' part of that `kind`, with every one of its weights from `weights`.

    Raises ValueError with the names that are missing: whatever else the file holds stands for none of them.
    """
    import diffusers
    from diffusers.loaders import single_file_utils as layouts

    convert = layouts.convert_ldm_unet_checkpoint if kind == UNET_KIND else layouts.convert_ldm_vae_checkpoint
    prefix = UNET if kind == UNET_KIND else VAE
    own = {name: value for name, value in weights.items() if name.startswith(prefix)}
    with torch.device("meta"):  # no time and memory for random weights that are replaced at once
        part = getattr(diffusers, kind)(**config)
    converted = convert(own, config=dict(part.config))  # empties the dictionary as it goes
    wanted = part.state_dict().keys()
    if missing := sorted(wanted - converted.keys()):
        raise ValueError(f"{len(missing)} weights under `{prefix}` are missing, such as {missing[0]}")
    part.load_state_dict({name: converted[name].to(dtype) for name in wanted}, assign=True)
    return part.eval()
