"""A model in one file, in the layout of CompVis's or Stability's own: what every family's share.

The sizes of the parts are read from the weights themselves, so nothing has to be fetched to know them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from visunex.base.errors import first_line
from visunex.base.machine import is_memory_shortage

from ..checkpoint.bounds import check_config
from ..checkpoint.configs import is_of_v
from ..checkpoint.reader import Weights, numbers_in
from ..errors import CheckpointError

__all__ = [
    "AS_DIFFUSERS",
    "HEAD_WIDTH",
    "UNET",
    "VAE",
    "check_parts",
    "clip_text_config",
    "clip_text_model",
    "diffusers_transformer",
    "diffusers_unet",
    "diffusers_vae",
    "heads_of",
    "noise_schedule",
    "renamed",
    "unet_levels",
    "vae_config",
    "whole",
]

UNET, VAE = "model.diffusion_model.", "first_stage_model."  # how names of their weights begin
# Where each part's names begin -> the end of a name that every such part has, and what stands before it.
Anchors = Mapping[str, tuple[str, str]]
ANCHORS: Anchors = {
    UNET: ("input_blocks.0.0.weight", "diffusion_model."),
    VAE: ("encoder.conv_in.weight", "first_stage_model."),
}
HEAD_WIDTH = 64  # of every CLIP text encoder, and of SDXL's UNet
SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
# How the base models of later families step by diffusers' own settings, where a sampler has the choice.
AS_DIFFUSERS = {
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def renamed(weights: Weights, anchors: Anchors) -> Weights:
    """The weights under the names of the original's own files, whatever stands in front of each part's names.

    Other programs wrap a model (`module.`, `model.`), leave `text_model` out (NovelAI's files) or put a
    text encoder elsewhere (`cond_stage_model.clip_l.`). A part is found by a weight that every such part has.
    """
    fronts = {
        front: ours
        for ours, (anchor, holder) in {**ANCHORS, **anchors}.items()
        if (front := _front(weights, anchor, holder))
    }
    if all(front == ours for front, ours in fronts.items()):
        return weights
    longest = sorted(fronts, key=len, reverse=True)

    def in_place(name: str) -> str:
        front = next((each for each in longest if name.startswith(each)), None)
        return name if front is None else fronts[front] + name.removeprefix(front)

    return {in_place(name): value for name, value in weights.items()}


def _front(weights: Weights, anchor: str, holder: str) -> str | None:
    """What stands before `anchor` in the name of the weight that is nearest to the usual place."""
    found = [name.removesuffix(anchor) for name in weights if name.endswith(anchor) and holder in name]
    return min(found, key=len, default=None)


def check_parts(weights: Weights, parts: Mapping[str, str], path: Path) -> None:
    """Raise CheckpointError where a part is missing, or is no floating-point numbers: quantised ones are not.

    `parts` are what they are called, by how the names of their weights begin.
    """
    for prefix, part in parts.items():
        if not any(name.startswith(prefix) for name in weights):
            raise CheckpointError(
                f"{path} holds no {part} (no `{prefix}...`): give --model a whole checkpoint"
            )
    for name, value in weights.items():
        own = name.startswith((*parts,)) and not name.endswith("position_ids")
        if own and not value.is_floating_point():
            dtype = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{path} holds {name} as {dtype}, not as floating-point numbers: take the model as it was "
                "before it was quantised"
            )


@contextmanager
def whole(path: Path, family: str) -> Iterator[None]:
    """Raise CheckpointError in the place of what weights that are missing or of other shapes raise."""
    try:
        yield
    except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        if is_memory_shortage(error):
            raise
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else first_line(error)
        raise CheckpointError(f"{path} is not a whole {family} checkpoint: {reason}") from None


def check_configs(configs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Raise CheckpointError for sizes that no model has."""
    for part, config in configs.items():
        check_config(part, config, str(path))


def noise_schedule(weights: Weights, path: Path, more: Mapping[str, Any]) -> dict[str, Any]:
    """The noise schedule and what the UNet estimates, by markers among the weights or the config beside them.

    Trainers put empty tensors `v_pred` and `ztsnr` into the file; CompVis's config is called as it, `.yaml`.
    """
    schedule: dict[str, Any] = {**SCHEDULE, **more}
    if is_of_v(weights, path):
        schedule["prediction_type"] = "v_prediction"
    if "ztsnr" in weights:
        schedule["rescale_betas_zero_snr"] = True
    return schedule


def unet_levels(weights: Weights) -> dict[str, Any]:
    """Settings of diffusers' UNet that fit the original's weights: its levels, widths and attentions."""
    downs = numbers_in(weights, UNET + r"input_blocks\.(\d+)\.0\.op\.weight")
    per_level = downs[0] - 1
    first = weights[UNET + "input_blocks.0.0.weight"]
    firsts = firsts_of(weights)
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
        "use_linear_projection": _is_linear(weights),
    }


def _is_linear(weights: Weights) -> bool:
    """Whether attention projects by linear layers, not by convolutions as in Stable Diffusion 1."""
    return any(name.endswith(".proj_in.weight") and value.ndim == 2 for name, value in weights.items())


def heads_of(widths: Iterable[int]) -> list[int]:
    """How many heads attention has at each level, where each is as wide as CLIP's."""
    return [max(1, width // HEAD_WIDTH) for width in widths]


def firsts_of(weights: Weights) -> list[int]:
    """The numbers of the first block of each level on the UNet's way down."""
    downs = numbers_in(weights, UNET + r"input_blocks\.(\d+)\.0\.op\.weight")
    return [1 + level * downs[0] for level in range(len(downs) + 1)]


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
        "latent_channels": weights[VAE + "decoder.conv_in.weight"].shape[1],
        "use_quant_conv": f"{VAE}quant_conv.weight" in weights,
        "use_post_quant_conv": f"{VAE}post_quant_conv.weight" in weights,
    }


def clip_text_config(weights: Weights, prefix: str) -> dict[str, Any]:
    """Settings of transformers' CLIP text model that fit the weights under `prefix`, which ends in
    `text_model.`."""
    vocabulary, width = weights[prefix + "embeddings.token_embedding.weight"].shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": weights[prefix + "encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": len(
            numbers_in(weights, re.escape(prefix) + r"encoder\.layers\.(\d+)\.mlp\.fc1\.weight")
        ),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": weights[prefix + "embeddings.position_embedding.weight"].shape[0],
        "projection_dim": width,
        "hidden_act": "quick_gelu",
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def clip_text_model(weights: Weights, config: Mapping[str, Any], prefix: str) -> Any:
    """transformers' CLIP text model in fp32, with its weights from under `prefix`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(CLIPTextConfig(**config))
    # transformers 5.6 took the `text_model` level out of the names.
    front = prefix.removesuffix("text_model.") if hasattr(model, "text_model") else prefix
    found = {
        name.removeprefix(front): value.float()
        for name, value in weights.items()
        if name.startswith(prefix) and not name.endswith("position_ids")
    }
    model.load_state_dict(found)
    return model.eval()


def diffusers_unet(config: Mapping[str, Any], weights: Weights, dtype: torch.dtype) -> Any:
    """diffusers' UNet, with every one of its weights from `weights`; raises ValueError for those missing."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    return _network(UNet2DConditionModel, config, convert_ldm_unet_checkpoint, (weights, UNET), dtype)


def diffusers_transformer(config: Mapping[str, Any], weights: Weights, dtype: torch.dtype) -> Any:
    """diffusers' transformer of Stable Diffusion 3, with every one of its weights from `weights`.

    Raises ValueError for those missing.
    """
    from diffusers import SD3Transformer2DModel
    from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers as convert

    return _network(SD3Transformer2DModel, config, convert, (weights, UNET), dtype)


def diffusers_vae(config: Mapping[str, Any], weights: Weights, dtype: torch.dtype) -> Any:
    """diffusers' VAE, with every one of its weights from `weights`; raises ValueError for those missing."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    return _network(AutoencoderKL, config, convert_ldm_vae_checkpoint, (weights, VAE), dtype)


def _network(
    kind: Any, config: Mapping[str, Any], convert: Any, source: tuple[Weights, str], dtype: torch.dtype
) -> Any:
    """diffusers' network of that `kind`, with every one of its weights from those under a prefix.

    Raises ValueError with the names that are missing: whatever else the file holds stands for none of them.
    """
    weights, prefix = source
    own = {name: value for name, value in weights.items() if name.startswith(prefix)}
    with torch.device("meta"):  # no time and memory for random weights that are replaced at once
        network = kind(**config)
    converted = convert(own, config=dict(network.config))  # empties the dictionary as it goes
    put_weights(network, converted, prefix, dtype)
    return network.eval()


def put_weights(network: Any, found: Weights, prefix: str, dtype: torch.dtype) -> None:
    """Give a network on the meta device its weights. Raises ValueError with the names of those missing."""
    wanted: Iterable[str] = network.state_dict().keys()
    if missing := sorted(set(wanted) - found.keys()):
        raise ValueError(f"{len(missing)} weights under `{prefix}` are missing, such as {missing[0]}")
    network.load_state_dict({name: found[name].to(dtype) for name in wanted}, assign=True)
