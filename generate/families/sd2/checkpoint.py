"""Stable Diffusion 2.x in one file: Stability's layout of the weights -> the model's parts."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checkpoint.configs import is_of_v
from ...checkpoint.reader import Weights
from ...tokens import clip_tokenizer
from ..open_clip import projection, text_config, text_model
from ..outline import side_of
from ..sd1.checkpoint import SCALING
from ..single_file import (
    AS_DIFFUSERS,
    UNET,
    VAE,
    check_configs,
    check_parts,
    diffusers_unet,
    diffusers_vae,
    heads_of,
    noise_schedule,
    renamed,
    unet_levels,
    vae_config,
    whole,
)
from . import text_encoder
from .parts import Parts

__all__ = ["load_checkpoint"]

_log = logging.getLogger(__name__)

TEXT = "cond_stage_model.model."  # as OpenCLIP names its weights
ANCHORS = {TEXT: ("token_embedding.weight", "cond_stage_model.")}
NAMES = {UNET: "UNet", VAE: "VAE", TEXT: "text encoder"}


def load_checkpoint(weights: Weights, path: Path, dtype: torch.dtype) -> Parts:
    """The parts in the weights of the file `path`: UNet and VAE in `dtype`, the text encoder in fp32.

    Its last layer and projection are the file's own. Raises CheckpointError for weights that are not whole.
    """
    weights = renamed(weights, ANCHORS)
    check_parts(weights, NAMES, path)
    of_v = is_of_v(weights, path)
    if not of_v:
        _say_unsure(path)
    with whole(path, "Stable Diffusion 2.x"):
        levels, side = unet_levels(weights), side_of("sd2", of_v=of_v)
        configs: dict[str, dict[str, Any]] = {
            "unet": {
                **levels,
                "attention_head_dim": heads_of(levels["block_out_channels"]),
                "sample_size": side,
            },
            "vae": {**vae_config(weights), "scaling_factor": SCALING, "sample_size": 8 * side},
            "text_encoder": text_config(weights, TEXT),
        }
        check_configs(configs, path)
        return Parts(
            unet=diffusers_unet(configs["unet"], weights, dtype),
            vae=diffusers_vae(configs["vae"], weights, dtype),
            **text_side(weights, configs["text_encoder"]),
            tokenizer=clip_tokenizer(pad="!"),
            scheduler_config=noise_schedule(weights, path, AS_DIFFUSERS),
        )


def _say_unsure(path: Path) -> None:
    _log.warning(
        "nothing in %s or beside it says what its UNet estimates: it is taken for a 512 model of noise; for "
        "a 768 model, which estimates v, give --prediction v --H 768 --W 768",
        path,
    )


def text_side(weights: Weights, config: dict[str, Any]) -> dict[str, Any]:
    """The text encoder without its last layer, this layer and the projection, as `Parts` calls them.

    Some trainers leave them out, or fill them with what stands for nothing: then they are None.
    """
    feature = _feature(weights)
    given = torch.eye(config["hidden_size"]) if feature is None else feature
    encoder = text_model(weights, config, TEXT, given).text_model
    layers = encoder.encoder.layers
    found = {"text_encoder": encoder, "own_projection": None if feature is None else feature.T.float()}
    if len(layers) == text_encoder.LAYERS - 1:
        return found
    *others, last = layers
    if not others:
        raise ValueError("its text encoder has one layer alone")
    encoder.encoder.layers = layers[:-1]
    encoder.config.num_hidden_layers = len(others)
    own = last.state_dict()
    if _same(own, others[-1].state_dict()):
        return found
    named = {f"encoder.layers.{len(others)}.{name}": value for name, value in own.items()}
    return {**found, "last_layer": named}


def _feature(weights: Weights) -> Tensor | None:
    """The text projection `[D, D_proj]`; None where there is none, or one number throughout."""
    try:
        found = projection(weights, TEXT)
    except KeyError:
        return None
    return None if bool((found == found.flatten()[0]).all()) else found


def _same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())
