"""A model's name becomes an encoder, with what its weights say of it, or a named error."""

import json
import logging
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoding import some_pixels

from visunex.clip import factory
from visunex.clip import pretrained as weights
from visunex.clip.errors import ModelError
from visunex.clip.factory import load_image_encoder
from visunex.clip.preprocess import Preprocessing


def test_a_folder_gives_its_tower_and_how_it_wants_pictures(small: str) -> None:
    encoder = load_image_encoder(small, precision="fp32")
    assert (encoder.dimension, encoder.precision, encoder.activation) == (24, "fp32", "QuickGELU")
    expected = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3, on_device=True)
    assert encoder.preprocessing == expected
    vectors = encoder.encode(some_pixels(encoder))
    assert (vectors.shape, vectors.dtype) == ((6, 24), np.float32)
    assert np.isfinite(vectors).all()


def test_the_default_model_is_quickgelu(small: str, tmp_path: Path) -> None:
    """OpenAI's tag says so, and what is built follows the tag (here with random weights of a small ViT)."""
    import open_clip

    assert open_clip.get_pretrained_cfg("ViT-L-14", "openai")["quick_gelu"] is True
    model = open_clip.create_model("ViT-S-32-alt", None)
    path = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), path)
    for settings, activation in (({"quick_gelu": True}, "QuickGELU"), ({}, "GELU")):
        tower, preprocessing, dimension, name = factory._build(
            weights.Checkpoint("ViT-S-32-alt", path, settings), "cpu", "fp32"
        )
        assert (name, dimension, preprocessing) == (activation, 256, Preprocessing())
        assert not tower.training


def test_without_a_compiler_the_tower_is_taken_as_it_is(
    small: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    encoder = load_image_encoder(small, precision="fp32", compiled=True)
    assert encoder.encode(some_pixels(encoder)).shape == (6, 24)
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("visunex")]
    assert said.startswith("encode: not compiled (")
    assert said.endswith("); going on without --compile")
    assert len(said.splitlines()) == 1
    assert not capsys.readouterr().err


def test_a_local_checkpoint_is_taken_by_its_path(tmp_path: Path) -> None:
    import open_clip

    path = tmp_path / "mine.pt"
    torch.save({"state_dict": open_clip.create_model("ViT-S-32-alt", None).state_dict()}, path)
    encoder = load_image_encoder("ViT-S-32-alt", str(path), precision="fp32")
    assert (encoder.dimension, encoder.activation) == (256, "GELU")
    with pytest.raises(ModelError, match="another model than ViT-S-16-alt"):
        load_image_encoder("ViT-S-16-alt", str(path))


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_models_that_cannot_be_had_are_named(tmp_path: Path, small: str) -> None:
    with pytest.raises(ModelError, match=r"did you mean .*ViT-L-14"):
        load_image_encoder("ViT-L-13")
    with pytest.raises(ModelError, match=r"no weights 'nonsense'.*published are openai"):
        load_image_encoder("ViT-L-14", "nonsense")
    with pytest.raises(ModelError, match=r"is no open_clip folder: open_clip_config.json"):
        load_image_encoder(f"local-dir:{tmp_path}")
    config = json.loads((Path(small.removeprefix("local-dir:")) / "open_clip_config.json").read_text())
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="has no weights"):
        load_image_encoder(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError, match="code to be run"):
        load_image_encoder(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_image_encoder(f"local-dir:{tmp_path}")
    with pytest.raises(ModelError, match=r"metaclip.*--pretrained|not on the Hub"):
        weights._from_address("ViT-L-14", "metaclip_400m", "https://x/l14_400m.pt")


def test_weights_that_ask_for_memory_are_refused_before_they_get_it(tmp_path: Path, small: str) -> None:
    (tmp_path / "open_clip_config.json").write_bytes(
        (Path(small.removeprefix("local-dir:")) / "open_clip_config.json").read_bytes()
    )
    bomb = zipfile.ZipFile(tmp_path / "open_clip_pytorch_model.bin", "w")
    with bomb:
        bomb.writestr("archive/data.pkl", b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.")
        bomb.writestr("archive/version", b"3\n")
    with pytest.raises(ModelError, match=r"code to be run \(builtins.bytearray\)"):
        load_image_encoder(f"local-dir:{tmp_path}")


def test_preprocessing_that_is_not_built_is_refused(tmp_path: Path, small: str) -> None:
    folder = Path(small.removeprefix("local-dir:"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "longest"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "open_clip_model.safetensors").write_bytes(
        (folder / "open_clip_model.safetensors").read_bytes()
    )
    with pytest.raises(ModelError, match="resized by 'longest'"):
        load_image_encoder(f"local-dir:{tmp_path}")


def test_loading_says_nothing_and_leaves_logging_as_it_was(
    small: str, caplog: pytest.LogCaptureFixture
) -> None:
    level = logging.getLogger().level
    load_image_encoder(small)
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]
    assert logging.getLogger().level == level
