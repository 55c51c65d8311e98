"""Shorter number formats: nearly the same vectors, in the parts that are lowered."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pytest
import torch
from encoding import cosines, some_pixels

from visunex.clip.factory import load_image_encoder
from visunex.clip.image_encoder import ImageEncoder
from visunex.clip.precision import lower
from visunex.demo import TINY_MODEL


@pytest.mark.parametrize("model", ["small", TINY_MODEL])
def test_bf16_says_the_same_as_fp32(model: str, small: str) -> None:
    name = small if model == "small" else model
    full, half = load_image_encoder(name, precision="fp32"), load_image_encoder(name, precision="bf16")
    pixels = some_pixels(full)
    assert half.precision == "bf16"
    assert half.identity() == full.identity()
    assert cosines(full.encode(pixels), half.encode(pixels)).min() > 0.999


def test_the_mean_of_many_pictures_is_the_same_in_bf16() -> None:
    """Weights that are rounded err the same way for each picture, so a mean keeps what they err."""
    full, half = (
        load_image_encoder(TINY_MODEL, precision="fp32"),
        load_image_encoder(TINY_MODEL, precision="bf16"),
    )
    pixels = np.stack([np.asarray(odd.photograph((64, 64), seed)) for seed in range(40)])
    one, other = (encoder.encode(pixels).mean(axis=0, keepdims=True) for encoder in (full, half))
    assert cosines(one, other)[0] > 0.99999


def test_a_tower_with_layer_scales_is_lowered_too() -> None:
    from open_clip.transformer import VisionTransformer

    tower = VisionTransformer(32, 8, 64, 2, 2, 4.0, ls_init_value=0.1, output_dim=24).eval()
    pictures = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        before, after = tower(pictures), lower(tower, torch.bfloat16)(pictures)
    assert after.dtype == torch.float32
    assert cosines(before.numpy(), after.numpy()).min() > 0.999


def test_a_tower_of_an_unknown_kind_is_lowered_whole() -> None:
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LayerNorm(12), torch.nn.Linear(12, 3))
    pictures = torch.rand(2, 3, 2, 2)
    with torch.inference_mode():
        before, after = tower(pictures), lower(tower, torch.bfloat16)(pictures)
    assert after.dtype == torch.bfloat16
    assert torch.allclose(before, after.float(), atol=0.05)


def test_bf16_says_the_same_as_fp32_of_a_published_size(
    published: tuple[ImageEncoder, Any], reference: Path
) -> None:
    import copy

    encoder, _ = published
    tower = copy.deepcopy(encoder.network)
    lower(tower, torch.bfloat16)
    painting = next((reference / "aivazovsky").glob("full-moon*.jpg"))
    pixels = encoder.preprocessing.pixels(painting.read_bytes())[None]
    half = replace(encoder, network=tower, precision="bf16").encode(pixels)
    assert cosines(encoder.encode(pixels), half).min() > 0.999
