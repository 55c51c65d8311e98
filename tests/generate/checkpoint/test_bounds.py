"""Model folders that ask for endless time or memory, or are not whole: refused by file and key."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from visunex.demo.tiny import SD_FOLDER
from visunex.generate.checkpoint.bounds import check_config
from visunex.generate.checkpoint.configs import CONFIGS, check_folder
from visunex.generate.checkpoint.headers import check_weights
from visunex.generate.errors import CheckpointError
from visunex.generate.families import loading as models

PLAIN = {
    "unet": {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "attention_head_dim": 8},
    "vae": {"block_out_channels": [128, 256, 512, 512], "scaling_factor": None, "sample_size": None},
    "text_encoder": {"hidden_size": 768, "eos_token_id": 2, "id2label": {"0": "a"}, "dtype": "float32"},
    "scheduler": {"num_train_timesteps": 1000, "beta_start": 0.00085, "trained_betas": None},
    "tokenizer": {"model_max_length": 1000000000000000019884624838656},
}


@pytest.mark.parametrize("part", PLAIN)
def test_what_models_have_passes(part: str) -> None:
    check_config(part, PLAIN[part], "config.json")


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("unet", {"transformer_layers_per_block": 1_000_000}, "transformer_layers_per_block is 1000000"),
        ("unet", {"block_out_channels": [10**9]}, "block_out_channels is 1000000000"),
        ("unet", {"block_out_channels": [[1, 2], [3]]}, "block_out_channels is a list, not a whole number"),
        ("unet", {"block_out_channels": [8] * 100}, "is a list of 100"),
        ("unet", {"block_out_channels": None}, "block_out_channels is null"),
        ("unet", {"layers_per_block": -3}, "layers_per_block is -3"),
        ("unet", {"cross_attention_dim": "768"}, "cross_attention_dim is '768'"),
        ("unet", {"in_channels": True}, "in_channels is True"),
        ("unet", {"layers_per_block": 8, "transformer_layers_per_block": 8}, "ask for 256 transformers"),
        ("unet", {"something_new": 10**400}, "something_new is a number of more than 15 digits"),
        ("unet", {"something_new": [0] * 5000}, "something_new is a list of 5,000"),
        ("unet", {"something_new": {"a": {"b": {"c": {"d": {}}}}}}, "too deep"),
        ("unet", {"_class_name": "UNet3DConditionModel"}, "_class_name is 'UNet3DConditionModel'"),
        ("vae", {"scaling_factor": float("nan")}, "scaling_factor is nan"),
        ("vae", {"scaling_factor": 0}, "scaling_factor is 0"),
        ("vae", {"latent_channels": 2.5}, "latent_channels is 2.5, not a whole number"),
        ("text_encoder", {"text_config": {"num_hidden_layers": 10**6}}, "num_hidden_layers is 1000000"),
        ("text_encoder", {"model_type": "t5"}, "model_type is 't5'"),
        ("scheduler", {"trained_betas": [0.1] * 5}, "trained_betas has 5 numbers"),
        ("scheduler", {"beta_schedule": "secret"}, "beta_schedule is 'secret', not one of linear"),
        ("tokenizer", {"model_max_length": "77"}, "model_max_length is '77'"),
    ],
)  # fmt: skip
def test_a_value_that_no_model_has_is_named(part: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=r"PLACE is not of a Stable Diffusion model: ") as caught:
        check_config(part, PLAIN[part] | changes, "PLACE")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(SD_FOLDER, tmp_path / "model")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def looped(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("vae/config.json", lambda path: path.write_text("[1]"), "broken"),
        ("vae/config.json", lambda path: path.write_text("[" * 200_000), "broken"),
        ("vae/config.json", pipe, "no plain file"),
        ("tokenizer/vocab.json", looped, "cannot be read"),
        ("tokenizer/vocab.json", lambda path: os.truncate(path, 3 << 30), "3,221,225,472 bytes, more than"),
        ("scheduler/scheduler_config.json", lambda path: os.truncate(path, 3 << 30), "3,221,225,472 bytes"),
        ("unet/a.safetensors.index.json", lambda path: path.write_text('{"weight_map": []}'), "no weights"),
        (
            "unet/a.safetensors.index.json",
            lambda path: path.write_text('{"weight_map": {"conv_in.bias": "../../other.safetensors"}}'),
            "names weights in another folder",
        ),
    ],
)
def test_a_file_that_no_model_has_is_named(folder: Path, name: str, change: Any, said: str) -> None:
    check_folder(folder)
    change(folder / name)
    with pytest.raises(CheckpointError, match=said) as caught:
        check_folder(folder)
    assert str(folder / name) in str(caught.value)


def weights_of(folder: Path, part: str) -> Path:
    return next((folder / part).glob("*.safetensors"))


def rewrite(path: Path, change: Any) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize(
    ("part", "called"), [("unet", "UNet"), ("vae", "VAE"), ("text_encoder", "text encoder")]
)
def test_missing_weights_are_never_left_random(folder: Path, part: str, called: str) -> None:
    rewrite(weights_of(folder, part), lambda weights: weights.pop(sorted(weights)[3]))
    with pytest.raises(
        CheckpointError, match=f"is not whole: 1 weights of its {called} are missing, such as"
    ):
        models.load(str(folder), device="cpu")


def test_a_shard_that_lacks_what_its_index_says_is_named(folder: Path) -> None:
    path = weights_of(folder, "unet")
    weights = load_file(path)
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, path.name)}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(index), encoding="utf-8")
    models.load(str(folder), device="cpu")
    gone = sorted(weights)[0]
    rewrite(path, lambda weights: weights.pop(gone))
    with pytest.raises(CheckpointError, match=f"says that {gone} is in {path.name}, where it is not"):
        models.load(str(folder), device="cpu")


def test_weights_that_are_whole_numbers_are_refused(folder: Path) -> None:
    path = weights_of(folder, "vae")
    save_file({name: value.to(torch.int8) for name, value in load_file(path).items()}, path)
    with pytest.raises(CheckpointError, match=r"as I8, not as floating-point numbers"):
        check_weights(folder / "vae")


def test_a_pickle_in_a_folder_is_looked_into_first(folder: Path) -> None:
    path = weights_of(folder, "vae")
    torch.save({"a": bytearray(8)}, path.with_suffix(".bin"))
    models.load(str(folder), device="cpu")  # not the file that is loaded
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read as weights: it"):
        path.with_suffix(".bin").write_bytes(b"\x80\x02c__builtin__\nbytearray\nJ\0\0\0\x10\x85R.")
        models.load(str(folder), device="cpu")


def test_a_configuration_is_checked_before_anything_is_built(folder: Path) -> None:
    path = folder / CONFIGS["unet"]
    config = json.loads(path.read_text(encoding="utf-8")) | {"layers_per_block": 10**6}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"unet/config\.json is not of .* layers_per_block is 1000000"):
        models.load(str(folder), device="cpu")
