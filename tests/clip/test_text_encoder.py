"""Texts and the images they name have vectors that lie near each other."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from encoding import cosines

from visunex.clip.errors import ModelError
from visunex.clip.factory import load_image_encoder, load_text_encoder
from visunex.demo import TINY_MODEL


def test_words_lie_near_the_pictures_they_name() -> None:
    from random import Random

    from visunex.demo.scenes import label, random_scene, render

    rng = Random("pictures and their names")
    scenes = [random_scene(rng) for _ in range(20)]
    tower, words = load_image_encoder(TINY_MODEL, precision="fp32"), load_text_encoder(TINY_MODEL)
    pixels = np.stack([tower.preprocessing.square(render(scene)) for scene in scenes])
    vectors = words.encode([label(scene) for scene in scenes])
    assert (vectors.shape, vectors.dtype) == ((20, 768), np.float32)
    right = cosines(tower.encode(pixels), vectors)
    wrong = cosines(tower.encode(pixels), np.roll(vectors, 1, axis=0))
    assert right.mean() > wrong.mean() + 0.1


def test_a_tokenizers_own_code_is_refused_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visunex.demo.tiny import CLIP_FOLDER

    folder = shutil.copytree(CLIP_FOLDER, tmp_path / "clip")
    for path in folder.glob("*token*"):
        path.unlink()
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    described = {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}, "tokenizer_class": "Tokenizer"}
    (stranger / "tokenizer_config.json").write_text(json.dumps(described))
    (stranger / "config.json").write_text(json.dumps({"model_type": "mine"}))
    (stranger / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Tokenizer: pass\n")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = str(stranger)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    with pytest.raises(ModelError, match="no tokenizer that can be loaded here"):
        load_text_encoder(f"local-dir:{folder}")
    assert asked == []
    assert not (tmp_path / "ran").exists()
