"""Stable Diffusion 3 in one file with its CLIP text encoders: the folder's pictures, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sd3_files import in_one_file, random_sd3
from sdxl_models import G, L

from visunex.generate import Sampler, Taste
from visunex.generate.errors import CheckpointError
from visunex.generate.families.loading import load
from visunex.generate.families.outline import check_model, outline


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sd3")


@pytest.fixture(scope="module")
def weights(place: Path) -> dict[str, torch.Tensor]:
    """Its weights; beside them the folder and the file that they are in."""
    found = in_one_file(random_sd3(place / "folder"))
    save_file(found, place / "one.safetensors")
    return found


def drawn(name: Path, size: int | None = None) -> Any:
    sampler = Sampler.load(name, device="cpu")
    vector = torch.randn(1, size or L, generator=torch.Generator().manual_seed(1))
    taste = None if size is None else Taste("gardens", vector, steps=2, lr=1e-3)
    settings = sampler.settings(steps=2, height=16, width=16)
    (batch,) = sampler.sample("a castle at night", settings, taste)
    return np.asarray(batch.images[0])


@pytest.mark.parametrize("size", [None, L, G])
def test_a_file_draws_what_the_folder_draws(place: Path, weights: Any, size: int | None) -> None:
    one, folder = drawn(place / "one.safetensors", size), drawn(place / "folder", size)
    assert np.array_equal(one, folder)
    assert size is None or not np.array_equal(one, drawn(place / "one.safetensors"))


def test_what_is_known_of_a_file_before_it_is_loaded(place: Path, weights: Any) -> None:
    found, model = outline(str(place / "one.safetensors")), load(str(place / "one.safetensors"), device="cpu")
    assert found is not None
    assert check_model(str(place / "one.safetensors")) == found.kind == "sd3"
    assert (found.factor, found.channels, found.multiple) == (model.factor, model.channels, model.multiple)
    assert (found.defaults, found.size) == (model.defaults, model.size)


def test_t5_in_a_file_is_left_out_and_said(
    tmp_path: Path, weights: dict[str, torch.Tensor], place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_t5 = {**weights, "text_encoders.t5xxl.transformer.shared.weight": torch.zeros(4, 4)}
    save_file(with_t5, tmp_path / "t5.safetensors")
    assert np.array_equal(drawn(tmp_path / "t5.safetensors"), drawn(place / "one.safetensors"))
    assert "holds T5 without its tokenizer" in caplog.text


def test_a_projection_that_a_file_leaves_out_is_the_identity(
    tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    name = "text_encoders.clip_l.transformer.text_projection.weight"
    save_file({key: each for key, each in weights.items() if key != name}, tmp_path / "a.safetensors")
    model: Any = load(str(tmp_path / "a.safetensors"), device="cpu")
    assert torch.equal(model.text_encoder.text_projection.weight, torch.eye(L))


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("text_encoders.", "its transformer in one file, but .* give --model a folder"),
        ("text_encoders.clip_g.", "holds no second text encoder"),
        ("first_stage_model.", "holds no VAE"),
        ("model.diffusion_model.joint_blocks.1.x_block.mlp.fc2.bias", "is not a whole Stable Diffusion 3"),
        ("model.diffusion_model.y_embedder.", "is not a whole Stable Diffusion 3"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    tmp_path: Path, weights: dict[str, torch.Tensor], lost: str, said: str
) -> None:
    kept = {name: value for name, value in weights.items() if not name.startswith(lost)}
    save_file(kept, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load(str(tmp_path / "a.safetensors"), device="cpu")


def test_patches_of_no_size_are_refused(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    name = "model.diffusion_model.x_embedder.proj.weight"
    save_file({**weights, name: torch.zeros(64, 16, 0, 0)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="is not a whole Stable Diffusion 3"):
        load(str(tmp_path / "a.safetensors"), device="cpu")
