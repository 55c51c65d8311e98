import json
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from visunex.generate.errors import CheckpointError, UsageError
from visunex.generate.families import loading as models
from visunex.generate.families.devices import find_device
from visunex.generate.sampling.sampler import Sampler
from visunex.generate.steering.reference import aesthetic_gradients
from visunex.generate.steering.steer import personalise
from visunex.generate.taste import Taste
from visunex.generate.tokens import clip_tokenizer

PROMPTS = ["a portal", "It's 123 über-colourful 🎨 ...", "", "x" * 400]


@pytest.fixture(scope="module")
def folder_model(clip_folder):
    return models.load(str(clip_folder), device="cpu")


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return one.state_dict().keys() == theirs.keys() and all(
        torch.equal(value, theirs[name]) for name, value in one.state_dict().items()
    )


def test_a_folder(folder_model):
    assert folder_model.channels == 4
    assert folder_model.factor == 8
    assert folder_model.size == (64, 64)
    assert folder_model.own_projection.shape == (64, 64)
    assert folder_model.dtype == torch.float32
    assert not any(value.requires_grad for value in folder_model.unet.parameters())


def test_a_folder_with_another_autoencoder(unprojected_folder):
    model = models.load(str(unprojected_folder), device="cpu")
    assert model.factor == 4
    assert model.size == (32, 32)
    with pytest.raises(CheckpointError, match="64 wide and brings no text projection"):
        Sampler(model).conditioner.require(Taste("gardens", torch.ones(1, 64)))


def test_the_demo_worlds_model():
    model = models.load("visunex-tiny", device="cpu")
    assert model.size == (64, 64)
    assert model.dtype == torch.float32  # its files hold fp16
    assert model.own_projection.shape[1] == model.text_encoder.config.hidden_size


@pytest.mark.parametrize("ending", ["safetensors", "ckpt", "legacy.ckpt"])
def test_one_file_gives_the_same_model_offline(tmp_path, folder_model, checkpoint_weights, ending):
    path = tmp_path / f"finetune.{ending}"
    if ending == "safetensors":
        save_file(checkpoint_weights, path)
    else:
        content = {"state_dict": checkpoint_weights, "global_step": 3, "epoch": 1}
        torch.save(content, path, _use_new_zipfile_serialization=ending == "ckpt")
    model = models.load(str(path), device="cpu")
    assert same_weights(model.unet, folder_model.unet)
    assert same_weights(model.vae, folder_model.vae)
    assert same_weights(model.text_encoder, folder_model.text_encoder)
    assert model.vae.config.scaling_factor == folder_model.vae.config.scaling_factor
    assert model.fingerprint == folder_model.fingerprint
    for name in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps"):
        assert model.scheduler_config[name] == folder_model.scheduler_config[name]
    latents, timestep = torch.randn(1, 4, 8, 8), torch.tensor(7)
    context = torch.randn(1, 77, 64)
    with torch.no_grad():
        # the same weights at other addresses: some processors add up in another order there
        torch.testing.assert_close(
            model.unet(latents, timestep, context).sample,
            folder_model.unet(latents, timestep, context).sample,
        )
        torch.testing.assert_close(model.vae.decode(latents).sample, folder_model.vae.decode(latents).sample)
    for prompt in PROMPTS:
        tokens = [
            each.tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
            for each in (model, folder_model)
        ]
        assert tokens[0] == tokens[1]


class _Runs:
    def __reduce__(self):
        return (Path.touch, (Path("was-run"),))


def test_a_checkpoint_that_asks_for_code_is_refused_and_runs_nothing(
    tmp_path, monkeypatch, checkpoint_weights
):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": checkpoint_weights, "callbacks": _Runs()}, "bad.ckpt")
    Path("worse.ckpt").write_bytes(pickle.dumps({"state_dict": _Runs()}))
    for name, said in (("bad.ckpt", "asks for code to be run"), ("worse.ckpt", "cannot be read")):
        with pytest.raises(CheckpointError, match=said):
            models.load(name, device="cpu")
    assert not Path("was-run").exists()


def test_the_callbacks_of_its_trainer_in_a_checkpoint_do_no_harm(
    tmp_path, monkeypatch, folder_model, checkpoint_weights
):
    import sys
    import types

    trainer = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    trainer.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": trainer.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, trainer.__name__, trainer)
    callback = trainer.ModelCheckpoint()
    callback.best = OrderedDict(score=1.0)
    path = tmp_path / "first.ckpt"
    torch.save({"state_dict": checkpoint_weights, "callbacks": {trainer.ModelCheckpoint: callback}}, path)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    assert models.load(str(path), device="cpu").fingerprint == folder_model.fingerprint


IN, OUT = "model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.out.2.weight"
PLACES = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"


def without(weights, prefix):
    return {name: value for name, value in weights.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w | {"conditioner.embedders.0.model.x": torch.ones(1)}, "SDXL refiner"),
        (lambda w: w | {"cond_stage_model.model.x": torch.ones(1)}, "not a whole Stable Diffusion 2"),
        (lambda w: without(w, "first_stage_model."), "no VAE"),
        (lambda w: w | {OUT: w[OUT].to(torch.int8)}, "as int8, not as floating-point numbers"),
        (lambda w: w | {"scaled_fp8": torch.ones(1)}, "a quantised model"),
        (lambda w: w | {IN: torch.ones(32)}, "not a whole"),
        (lambda w: w | {OUT: torch.zeros(0)}, "takes 4 channels and gives 0"),
        (lambda w: {n: v for n, v in w.items() if "attn2" not in n}, "attn2.to_k.weight is missing"),
        (lambda w: w | {PLACES: torch.ones(2, 64)}, "max_position_embeddings is 2, not 8"),
        (lambda w: without(w, "model.diffusion_model."), "no UNet"),
        (lambda w: without(w, "model.diffusion_model.middle_block"), "not a whole"),
        (lambda w: without(w, "cond_stage_model.transformer.text_model.final_layer_norm"), "not a whole"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, checkpoint_weights, change, said):
    save_file(change(dict(checkpoint_weights)), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=said):
        models.load(str(tmp_path / "other.safetensors"), device="cpu")


@pytest.mark.parametrize("part", ["model.diffusion_model.", "first_stage_model."])
def test_surplus_weights_do_not_stand_for_missing_ones(tmp_path, checkpoint_weights, part):
    weights = dict(checkpoint_weights)
    names = [
        name for name in weights if name.startswith(part) and (".up." in name or ".output_blocks" in name)
    ]
    for number, name in enumerate(names[-16:]):
        weights[f"{part}loss.{number}"] = weights.pop(name)
    save_file(weights, tmp_path / "holes.safetensors")
    with pytest.raises(CheckpointError, match=f"16 weights under `{part}` are missing"):
        models.load(str(tmp_path / "holes.safetensors"), device="cpu")


TEXT = "cond_stage_model.transformer.text_model."
TOKENS = f"{TEXT}embeddings.token_embedding.weight"


@pytest.mark.parametrize(
    "added",
    [0, 2],
)
@pytest.mark.parametrize(
    "layout",
    [
        lambda name: name,
        lambda name: name.replace(TEXT, "cond_stage_model.transformer.model.text_model."),
        lambda name: name.replace(TEXT, "cond_stage_model.transformer."),  # NovelAI's
        lambda name: name.replace(TEXT, "cond_stage_model.clip_l.transformer.text_model."),
        lambda name: name.replace(TEXT, "cond_stage_model.clip_l.text_model."),
        lambda name: f"module.{name}",
        lambda name: f"model.{name}",
        lambda name: f"model.module.{name.replace(TEXT, 'cond_stage_model.transformer.')}",
    ],
)
def test_other_programs_names_give_the_same_model(tmp_path, checkpoint_weights, folder_model, layout, added):
    rows = checkpoint_weights[TOKENS]
    weights = checkpoint_weights | {TOKENS: torch.cat([rows, rows[:added]])}
    half = {layout(name): value.half() if added else value for name, value in weights.items()}
    save_file(half, tmp_path / "a.safetensors")
    model = models.load(str(tmp_path / "a.safetensors"), device="cpu")
    if not added:
        assert model.fingerprint == folder_model.fingerprint
        assert_steered_as_by_the_reference(model)


def assert_steered_as_by_the_reference(model):
    """The fast method and the plain one agree, with tokens added behind the end of text."""
    ids = model.tokenizer(
        "a castle at night", padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    end = ids[0].tolist().index(model.tokenizer.eos_token_id)
    ids[0, 2] = model.text_encoder.config.vocab_size - 1  # the highest: an added token where there are any
    generator = torch.Generator().manual_seed(5)
    projection, embedding = (
        torch.randn(64, 64, generator=generator),
        torch.randn(1, 64, generator=generator),
    )
    end = 2 if ids[0, 2] == model.tokenizer.eos_token_id else end
    expected = aesthetic_gradients(model.text_encoder, projection, ids, embedding, end=end, steps=3, lr=1e-3)
    moved = personalise(
        model.text_encoder,
        projection,
        ids,
        embedding,
        steps=3,
        lr=1e-3,
        eos_token_id=model.tokenizer.eos_token_id,
    )
    assert (moved - expected).abs().max() < 1e-4


def as_variants(folder: Path, *variants: str, plain: bool = False) -> None:
    for path in [*folder.glob("*/*.safetensors")]:
        for variant in variants:
            shutil.copy(path, path.with_name(f"{path.stem}.{variant}.safetensors"))
        if not plain:
            path.unlink()


def test_a_folder_of_one_variant_is_read(tmp_path, model_folder):
    folder = shutil.copytree(model_folder, tmp_path / "half")
    as_variants(folder, "fp16")
    expected = models.load(str(model_folder), device="cpu").fingerprint
    assert models.load(str(folder), device="cpu").fingerprint == expected
    assert models.load(str(folder), device="cpu", variant="fp16").fingerprint == expected
    with pytest.raises(CheckpointError, match="cannot be read"):
        models.load(str(folder), device="cpu", variant="ema")


def test_a_variant_is_chosen_where_there_are_several(tmp_path, model_folder, clip_folder):
    folder = shutil.copytree(model_folder, tmp_path / "both")
    as_variants(folder, "fp16", plain=True)
    changed = folder / "vae" / "diffusion_pytorch_model.fp16.safetensors"
    weights = load_file(changed)
    save_file({name: value * 2 for name, value in weights.items()}, changed)
    plain, half = (models.load(str(folder), device="cpu", variant=each) for each in (None, "fp16"))
    assert plain.fingerprint == models.load(str(model_folder), device="cpu").fingerprint
    assert half.fingerprint != plain.fingerprint


def test_what_a_config_leaves_open_is_stable_diffusions(tmp_path, model_folder):
    folder = shutil.copytree(model_folder, tmp_path / "open")
    for part, key in (("unet", "sample_size"), ("vae", "scaling_factor")):
        path = folder / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {key: None}), encoding="utf-8")
    model = models.load(str(folder), device="cpu")
    assert (model.size, model.scaling_factor) == ((512, 512), 0.18215)


@pytest.mark.parametrize(
    ("markers", "config", "expected"),
    [
        ((), "", (None, None)),
        (("v_pred",), "", ("v_prediction", None)),
        (("v_pred", "ztsnr"), "", ("v_prediction", True)),
        ((), 'model:\n  params:\n    parameterization: "v"\n', ("v_prediction", None)),
        ((), "model:\n  params:\n    parameterization: eps\n", (None, None)),
    ],
)
def test_what_a_file_says_of_its_unets_estimate(tmp_path, checkpoint_weights, markers, config, expected):
    save_file(checkpoint_weights | {name: torch.ones(1) for name in markers}, tmp_path / "v.safetensors")
    if config:
        (tmp_path / "v.yaml").write_text(config, encoding="utf-8")
    schedule = models.load(str(tmp_path / "v.safetensors"), device="cpu").scheduler_config
    assert (schedule.get("prediction_type"), schedule.get("rescale_betas_zero_snr")) == expected


def test_surplus_weights_do_no_harm(tmp_path, checkpoint_weights, folder_model):
    surplus = {f"first_stage_model.loss.{number}": torch.ones(2) for number in range(16)}
    save_file(dict(checkpoint_weights) | surplus, tmp_path / "more.safetensors")
    assert (
        models.load(str(tmp_path / "more.safetensors"), device="cpu").fingerprint == folder_model.fingerprint
    )


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"<html>not found</html>", "cannot be read"),
        (b"PK\x03\x04" + b"\0" * 50, "cannot be read"),
    ],
)
def test_an_unreadable_file_is_refused(tmp_path, ending, content, said):
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        models.load(str(path), device="cpu")


def test_a_file_cut_off_is_refused(tmp_path, checkpoint_weights):
    path = tmp_path / "half.safetensors"
    save_file(checkpoint_weights, path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="broken, cut off"):
        models.load(str(path), device="cpu")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-thing", "not a folder, not a file, not a Hub name"),
        ("./nowhere", "not a folder"),
        ("missing.safetensors", "no such file"),
        ("/dev/zero", "is no file and no folder"),
        ("someone/unheard-of-model", "check the name and the network"),
    ],
)
def test_a_model_that_is_not_there(name, said):
    with pytest.raises(CheckpointError, match=said):
        models.load(name, device="cpu")


def test_a_folder_that_is_no_model(tmp_path, model_folder):
    with pytest.raises(CheckpointError, match=r"no unet/config\.json"):
        models.load(str(tmp_path), device="cpu")
    broken = shutil.copytree(model_folder, tmp_path / "broken")
    (broken / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read"):
        models.load(str(broken), device="cpu")


@pytest.mark.parametrize("kept", [[], ["tokenizer_config.json"]])
def test_a_folder_without_a_tokenizer_is_refused(tmp_path, model_folder, kept):
    folder = shutil.copytree(model_folder, tmp_path / "wordless")
    for path in (folder / "tokenizer").iterdir():
        if path.name not in kept:
            path.unlink()
    with pytest.raises(CheckpointError, match=r"the tokenizer of .* tokens, its text encoder takes"):
        models.load(str(folder), device="cpu")


def test_another_models_tokenizer_is_refused(tmp_path, model_folder):
    folder = shutil.copytree(model_folder, tmp_path / "foreign")
    shutil.rmtree(folder / "tokenizer")
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    with pytest.raises(CheckpointError, match="49,408 tokens, its text encoder takes"):
        models.load(str(folder), device="cpu")


def test_rows_that_were_added_to_a_text_encoder_do_no_harm(tmp_path, checkpoint_weights, folder_model):
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    rows = torch.cat([checkpoint_weights[name], torch.randn(2, 64)])
    save_file(checkpoint_weights | {name: rows}, tmp_path / "inverted.safetensors")
    model = models.load(str(tmp_path / "inverted.safetensors"), device="cpu")
    ids = model.tokenizer("a cat").input_ids
    assert model.tokenizer.eos_token_id == ids[-1] == 49407
    there, expected = (each.text_encoder(torch.tensor([ids])) for each in (model, folder_model))
    assert torch.equal(there.last_hidden_state, expected.last_hidden_state)


def test_a_device_that_is_not_there():
    with pytest.raises(UsageError, match="no device 'warp'"):
        find_device("warp")


def test_the_tokenizer_is_clips():
    import open_clip

    theirs, ours = open_clip.get_tokenizer("ViT-L-14"), clip_tokenizer()
    for prompt in [*PROMPTS, "A portal towards other dimension, by Aivazovsky (1850) & co."]:
        expected = [number for number in theirs([prompt])[0].tolist() if number]
        assert ours(prompt, max_length=77, truncation=True).input_ids == expected


def test_low_memory_keeps_one_part_at_a_time(model_folder):
    model = models.load(str(model_folder), device="cpu", lowvram=True)
    with model.on_device(model.unet) as unet:
        assert unet is model.unet
    assert model.vae.use_slicing
    assert model.vae.use_tiling
