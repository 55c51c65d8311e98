"""SDXL models read from a folder and from one file: the same parts, whole, or named as what they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from sdxl_models import G, L, in_one_file
from torch import Tensor, nn

from visunex.generate.errors import CheckpointError, UsageError
from visunex.generate.families.loading import load
from visunex.generate.families.outline import check_model, outline
from visunex.generate.sampling.sampler import Sampler

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
UNET, TEXT_2 = "model.diffusion_model.", "conditioner.embedders.1.model."
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights(xl_folder: Path) -> Weights:
    return in_one_file(xl_folder)


@pytest.fixture(scope="module")
def model(xl_folder: Path) -> Any:
    return load(str(xl_folder), device="cpu")


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return one.state_dict().keys() == theirs.keys() and all(
        torch.equal(value, theirs[name]) for name, value in one.state_dict().items()
    )


def saved(weights: Weights, folder: Path, name: str = "a.safetensors") -> str:
    path = folder / name
    if name.endswith(".ckpt"):
        torch.save({"state_dict": weights, "epoch": 1}, path)
    else:
        save_file(weights, path)
    return str(path)


def test_a_folder(model: Any) -> None:
    assert (model.size, model.factor, model.channels) == ((64, 64), 8, 4)
    assert [room.size for room in Sampler(model).conditioner.rooms] == [L, G]
    assert {part.dtype for part in model.networks} == {torch.float32}


@pytest.mark.parametrize("name", ["child.safetensors", "child.ckpt"])
def test_one_file_gives_the_same_model_offline(
    tmp_path: Path, model: Any, weights: Weights, name: str
) -> None:
    found: Any = load(saved(weights, tmp_path, name), device="cpu")
    assert all(same_weights(getattr(found, part), getattr(model, part)) for part in PARTS)
    assert found.fingerprint == model.fingerprint
    assert found.size == (1024, 1024)
    assert found.vae.config.force_upcast
    for key in ("scaling_factor", "latent_channels"):
        assert found.vae.config[key] == model.vae.config[key]
    for key in ("attention_head_dim", "addition_time_embed_dim", "use_linear_projection"):
        assert found.unet.config[key] == model.unet.config[key]
    for prompt in ("a castle", "", "It's 12 über-colourful ships"):
        ours, theirs = (Sampler(each).conditioner.prompt(prompt) for each in (found, model))
        assert torch.equal(ours.hidden, theirs.hidden)
        assert torch.equal(ours.pooled, theirs.pooled)  # type: ignore[arg-type]


def test_diffusers_reads_the_same_from_the_file(
    tmp_path: Path, model: Any, weights: Weights, xl_folder: Path
) -> None:
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_single_file(saved(weights, tmp_path), config=str(xl_folder))
    assert all(same_weights(getattr(pipe, part), getattr(model, part)) for part in ("unet", "vae"))
    assert same_weights(pipe.text_encoder_2, model.text_encoder_2)


@pytest.mark.parametrize(
    "changed",
    [
        lambda w: {f"module.{name}": value for name, value in w.items()},
        lambda w: {f"model.{name}": value for name, value in w.items()},
        lambda w: w | {"model_ema.decay": torch.ones(1), "denoiser.sigmas": torch.ones(1000)},
        lambda w: {
            name.replace("text_projection", "text_projection.weight"): value.T.contiguous()
            if name.endswith("1.model.text_projection")
            else value
            for name, value in w.items()
        },
    ],
    ids=["module", "model", "beside", "a linear layer's projection"],
)
def test_other_programs_names_give_the_same_model(
    tmp_path: Path, model: Any, weights: Weights, changed: Callable[[Weights], Weights]
) -> None:
    found: Any = load(saved(changed(weights), tmp_path), device="cpu")
    assert found.fingerprint == model.fingerprint
    assert same_weights(found.text_encoder_2, model.text_encoder_2)


@pytest.mark.parametrize(
    ("markers", "expected"),
    [
        ((), ("epsilon", False)),
        (("v_pred",), ("v_prediction", False)),
        (("v_pred", "ztsnr"), ("v_prediction", True)),
    ],
)
def test_what_a_file_says_of_its_unets_estimate(
    tmp_path: Path, weights: Weights, markers: tuple[str, ...], expected: tuple[str, bool]
) -> None:
    from visunex.generate.sampling.sampler import build_scheduler
    from visunex.generate.settings import Settings

    found = load(saved(weights | {name: torch.ones(1) for name in markers}, tmp_path), device="cpu")
    config = build_scheduler(found, Settings(steps=4)).config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == expected
    assert config.timestep_spacing == ("trailing" if expected[1] else "leading")


def without(start: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if not name.startswith(start)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("first_stage_model."), "holds no VAE"),
        (without("conditioner.embedders.0."), r"holds no text encoder \(no `conditioner\.embedders\.0"),
        (without(UNET + "middle_block.1"), "not a whole SDXL checkpoint: .* weights under `model.diffusion"),
        (without(TEXT_2 + "ln_final"), "2 weights under `conditioner.embedders.1.model.` are missing"),
        (without(TEXT_2 + "text_projection"), "not a whole SDXL checkpoint: .*text_projection is missing"),
        (lambda w: w | {UNET + "out.2.bias": torch.ones(4, dtype=torch.int8)}, "as int8"),
        (lambda w: w | {UNET + "label_emb.0.0.weight": torch.ones(128, 50)}, "takes 50 numbers beside"),
        (lambda w: w | {TEXT_2 + "positional_embedding": torch.ones(2, G)}, "max_position_embeddings is 2"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    tmp_path: Path, weights: Weights, change: Callable[[Weights], Weights], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        load(saved(change(dict(weights)), tmp_path), device="cpu")


def copied(folder: Path, target: Path, **links: Path) -> Path:
    """A copy whose files are linked; whoever changes one unlinks it first."""
    shutil.copytree(folder, target, copy_function=lambda source, to: Path(to).symlink_to(source))
    return target


def rewritten(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text("utf-8")) | changes
    path.unlink()
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("text_encoder_2/config.json", {"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ("tokenizer_2/tokenizer_config.json", {"model_max_length": "77"}, "model_max_length is '77'"),
        ("unet/config.json", {"in_channels": 9}, "an SDXL inpainting model"),
        ("scheduler/scheduler_config.json", {"_class_name": "EDMEulerScheduler"}, "the EDM noise schedule"),
        (
            "text_encoder_2/config.json",
            {"num_hidden_layers": 4},
            "weights of its second text encoder are missing",
        ),
    ],
)
def test_a_folder_with_something_else_in_it_is_refused(
    tmp_path: Path, xl_folder: Path, file: str, changes: dict[str, Any], said: str
) -> None:
    folder = copied(xl_folder, tmp_path / "xl")
    rewritten(folder / file, **changes)
    with pytest.raises(CheckpointError, match=said):
        load(str(folder), device="cpu")


def test_a_folder_without_its_second_tokenizer_is_refused(tmp_path: Path, xl_folder: Path) -> None:
    folder = copied(xl_folder, tmp_path / "xl")
    shutil.rmtree(folder / "tokenizer_2")
    with pytest.raises(CheckpointError, match=r"tokenizer|cannot be read"):
        load(str(folder), device="cpu")


def test_a_variant_and_what_the_pipeline_says_of_empty_prompts(tmp_path: Path, xl_folder: Path) -> None:
    folder = copied(xl_folder, tmp_path / "xl")
    for path in [*folder.glob("*/*.safetensors")]:
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    rewritten(folder / "model_index.json", force_zeros_for_empty_prompt=False)
    sampler = Sampler.load(folder, device="cpu", variant="fp16")
    assert torch.equal(sampler.conditioner.negative("").hidden, sampler.conditioner.prompt("").hidden)


def test_the_vae_is_fp32_where_it_overflows(tmp_path: Path, xl_folder: Path) -> None:
    from visunex.generate.families.sdxl.folder import load_folder

    folder = copied(xl_folder, tmp_path / "xl")
    for upcast, expected in ((True, torch.float32), (False, torch.float16)):
        rewritten(folder / "vae" / "config.json", force_upcast=upcast)
        parts = load_folder(str(folder), torch.float16)
        assert (parts.unet.dtype, parts.vae.dtype) == (torch.float16, expected)
        assert parts.text_encoder_2.dtype == torch.float32


def test_what_is_said_before_loading(tmp_path: Path, xl_folder: Path, weights: Weights) -> None:
    file = saved(weights, tmp_path)
    for name, size in ((str(xl_folder), (64, 64)), (file, (1024, 1024))):
        found = outline(name)
        assert found is not None
        assert check_model(name) == found.kind == "sdxl"
        assert (found.size, found.factor, found.channels) == (size, 8, 4)


def test_openais_text_encoder_is_stable_diffusion_1s(model: Any) -> None:
    with pytest.raises(UsageError, match=r"--text-encoder openai is for Stable Diffusion 1\.x"):
        Sampler(model, text_encoder="openai")


def test_low_memory_keeps_one_part_at_a_time(xl_folder: Path) -> None:
    model: Any = load(str(xl_folder), device="cpu", lowvram=True)
    assert model.vae.use_tiling
    with model.on_device(model.text_encoder_2) as encoder:
        assert encoder is model.text_encoder_2
