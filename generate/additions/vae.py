"""A VAE as a diffusers folder, or one file in the original's layout or diffusers' -> AutoencoderKL."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.bounds import check_config
from ..checkpoint.configs import read_json
from ..checkpoint.kinds import NAMES
from ..checkpoint.reader import Weights, numbers_in
from ..errors import AdditionError
from ..families.model import Model
from ..families.single_file import (
    VAE,
    check_configs,
    check_parts,
    diffusers_vae,
    put_weights,
    vae_config,
    whole,
)
from .files import VAE as WHAT
from .files import check_file, file_of_vae
from .kinds import DIFFUSERS_VAE, ORIGINAL_VAE, check_vae
from .reading import tensors_of

__all__ = ["read_vae"]

CONFIG = "config.json"
# How diffusers' first releases called the attention's layers.
EARLIER = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
# The first layer of each level on the way down, in diffusers' layout and in the original's.
LEVELS = (
    r"encoder\.down_blocks\.(\d+)\.resnets\.0\.conv1\.weight",
    r"encoder\.down\.(\d+)\.block\.0\.conv1\.weight",
)
LATENTS = "decoder.conv_in.weight"  # takes as many channels as latents have
DEFAULT_SCALING = 0.18215  # where a configuration says nothing
ALIKE = 1e-6
SCALINGS = {0.18215: f"{NAMES['sd1']} and 2.x", 0.13025: NAMES["sdxl"]}


def read_vae(path: Path, model: Model) -> Any:
    """The VAE at a path, in the precision that the model's family has it in, for latents as the model's are.

    Raises AdditionError for one of another family, CheckpointError for what is not whole.
    """
    file = file_of_vae(path)
    check_file(file, WHAT)
    config = _common(model) | (_config_beside(path, file, model) if file != path else {})
    half = model.KIND != "sdxl" or config["force_upcast"] is False
    dtype = model.dtype if half else torch.float32
    with whole(file, WHAT):
        weights, is_diffusers = _own(tensors_of(file, WHAT), path)
        _check_latents(path, weights, model)
        named = {f"{VAE}{name}": value for name, value in weights.items()}
        check_parts(named, {VAE: WHAT}, file)
        sizes = {**(_sizes(weights) if is_diffusers else vae_config(named)), **config}
        check_configs({"vae": sizes}, file)
        return _diffusers(sizes, weights, dtype) if is_diffusers else diffusers_vae(sizes, named, dtype)


def _own(weights: Weights, path: Path) -> tuple[dict[str, Tensor], bool]:
    """A VAE's weights under its own names alone, and whether these are diffusers'. Raises AdditionError."""
    check_vae(path, {name: tuple(value.shape) for name, value in weights.items()})
    ours = {name.removesuffix(DIFFUSERS_VAE) for name in weights if name.endswith(DIFFUSERS_VAE)}
    theirs = {name.removesuffix(ORIGINAL_VAE) for name in weights if name.endswith(ORIGINAL_VAE)}
    front = min(ours or theirs, key=len)
    own = {_today(name[len(front) :]): value for name, value in weights.items() if name.startswith(front)}
    return own, bool(ours)


def _today(name: str) -> str:
    for earlier, today in EARLIER.items():
        name = name.replace(earlier, today) if ".attentions." in name else name
    return name


def _common(model: Model) -> dict[str, Any]:
    """What a file of weights does not say: as the model's family has it."""
    own = model.vae.config
    return {"scaling_factor": model.scaling_factor, "sample_size": own.sample_size, "force_upcast": True}


def _config_beside(path: Path, file: Path, model: Model) -> dict[str, Any]:
    """What a folder says of its VAE. Raises AdditionError for another kind or family."""
    found = read_json(file.parent / CONFIG)
    kind, scaling = found.get("_class_name", "AutoencoderKL"), found.get("scaling_factor", DEFAULT_SCALING)
    if kind != "AutoencoderKL":
        raise AdditionError(
            f"{path} is a VAE of another kind ({str(kind)[:100]}): give --vae an AutoencoderKL"
        )
    check_config("vae", found, str(file.parent / CONFIG))
    if scaling is not None and abs(scaling - model.scaling_factor) > ALIKE:
        family = SCALINGS.get(scaling, "another model")
        raise AdditionError(
            f"{path} is a VAE for {family}, whose latents are scaled by {scaling:g}, those of {model.name} "
            f"by {model.scaling_factor:g}: name one that was made for it"
        )
    own = {key: value for key, value in found.items() if not key.startswith("_")}
    return {**own, "scaling_factor": model.scaling_factor}


def _check_latents(path: Path, weights: Weights, model: Model) -> None:
    """Raise AdditionError for a VAE whose latents have other channels or sizes than the model's."""
    channels = weights[LATENTS].shape[1]
    if channels != model.channels:
        raise AdditionError(
            f"{path} is a VAE of another family: its latents have {channels} channels, those of {model.name} "
            f"{model.channels}"
        )
    downs = (
        numbers_in(weights, pattern)
        for pattern in LEVELS
        if any(re.fullmatch(pattern, name) for name in weights)
    )
    factor = 2 ** (len(next(downs)) - 1)
    if factor != model.factor:
        raise AdditionError(
            f"{path} is a VAE of another family: it has {factor} pixels for a latent, {model.name} "
            f"{model.factor}"
        )


def _sizes(weights: Weights) -> dict[str, Any]:
    """Settings of diffusers' autoencoder that fit its own weights."""
    levels = numbers_in(weights, LEVELS[0])
    return {
        "block_out_channels": [
            weights[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in levels
        ],
        "layers_per_block": len(
            numbers_in(weights, r"encoder\.down_blocks\.0\.resnets\.(\d+)\.conv1\.weight")
        ),
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
        "latent_channels": weights[LATENTS].shape[1],
    }


def _diffusers(config: Mapping[str, Any], weights: Weights, dtype: torch.dtype) -> Any:
    """diffusers' VAE, with every one of its weights; attention's were convolutions in its first releases."""
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        network = AutoencoderKL.from_config(dict(config))
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    found = {
        name: value.reshape(shapes[name]) if value.shape == (*shapes.get(name, ()), 1, 1) else value
        for name, value in weights.items()
    }
    put_weights(network, found, VAE, dtype)
    return network.eval()
