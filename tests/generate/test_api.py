"""The names that `visunex.generate` gives to scripts and notebooks."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import visunex.generate
from visunex.aesthetic_embeddings import EmbeddingError
from visunex.generate import Batch, Sampler, Settings, Taste, personalise

LIGHT = """
import sys
from visunex.generate import Settings
from visunex.generate.settings import DEFAULT_MODEL
assert Settings(samples=4).samples == 4 and DEFAULT_MODEL
print(sorted({"torch", "diffusers", "transformers", "numpy", "PIL"} & set(sys.modules)))
"""


def test_what_is_public_is_shown():
    assert dir(visunex.generate) == sorted(visunex.generate.__all__)
    for name in visunex.generate.__all__:
        assert getattr(visunex.generate, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = visunex.generate.nonsense


def test_settings_load_no_torch():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("negative_prompt", None),
        ("seed", "42"),
        ("scheduler", 3),
        ("steps", 5.0),
        ("steps", [5]),
        ("eta", "0.5"),
        ("guidance_scale", None),
        ("guidance_scale", True),
        ("height", "64"),
        ("width", 64.5),
        ("samples", True),
        ("fixed_code", 1),
        ("fixed_code", "yes"),
        ("rng", "gpu"),
        ("rng", ["cpu"]),
        ("prediction", "sample"),
    ],
)
def test_a_setting_of_another_type_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field} is .*: give "):
        Settings(**{field: value})


@pytest.mark.parametrize(
    "values", [{"seed": -1}, {"seed": 2**64}, {"eta": float("nan")}, {"samples": 0}, {"iterations": -1}]
)
def test_a_setting_that_nothing_is_sampled_with_is_named(values):
    with pytest.raises(ValueError, match=f"^{next(iter(values))} is .*: give "):
        Settings(**values).check()


def test_numbers_of_numpy_are_settings():
    settings = Settings(
        steps=np.int64(4), guidance_scale=np.float32(7.5), seed=torch.tensor(3), height=np.int32(8)
    )
    assert settings == Settings(steps=4, guidance_scale=7.5, seed=3, height=8)
    assert [type(each) for each in (settings.steps, settings.guidance_scale, settings.seed)] == [
        int,
        float,
        int,
    ]


def test_a_taste_by_name_or_path(embedding_file, tmp_path, monkeypatch):
    taste = Taste.load(embedding_file, steps=3, lr=1e-3)
    assert (taste.steps, taste.lr, tuple(taste.embedding.shape)) == (3, 1e-3, (1, 64))
    assert repr(taste) == f"Taste({str(embedding_file)!r}, 1x64, steps=3, lr=0.001)"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/gardens").mkdir(parents=True)
    (tmp_path / "runs/gardens/embedding.pt").write_bytes(embedding_file.read_bytes())
    assert Taste.load("gardens").digest == taste.digest
    with pytest.raises(EmbeddingError, match="no embedding called 'flowr'"):
        Taste.load("flowr")


def test_the_public_names_make_an_image(model_folder, embedding_file):
    sampler = Sampler.load(str(model_folder), device="cpu")
    settings, taste = Settings(samples=2, steps=2, seed=332), Taste.load(embedding_file, steps=1)
    (batch,) = sampler.sample("a castle at night", settings, taste)
    assert isinstance(batch, Batch)
    assert [image.size for image in batch.images] == [(64, 64)] * 2
    model, ids = sampler.model, sampler.conditioner.tokens("a castle at night")
    moved = personalise(model.text_encoder, model.own_projection, ids, taste.embedding, steps=1)
    assert torch.equal(moved, sampler.conditioner.prompt("a castle at night", taste).hidden)


def test_the_package_runs_as_the_command():
    command = [sys.executable, "-m", "visunex.generate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "visunex-generate --prompt" in done.stdout
