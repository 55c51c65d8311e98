"""A tiny ViT-H in the place of the published one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from safetensors.torch import save_file
from small_pipelines import WORDS
from transformers import CLIPTokenizer

from visunex.demo.tokens import write_tokenizer
from visunex.generate.families.sd2 import text_encoder as published


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("words")
    write_tokenizer(folder, [WORDS], 550)
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


@pytest.fixture
def in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Put an encoder of three layers into the Hub's cache as the published file, which then has three."""
    monkeypatch.setattr(published, "LAYERS", 3)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ours"))
    folder = tmp_path / ("models--" + published.REPOSITORY.replace("/", "--"))

    def put(encoder: Any) -> None:
        place = folder / "snapshots" / "one"
        place.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("one")
        values = {name: value.contiguous() for name, value in encoder.state_dict().items()}
        save_file(values, place / published.FILE)

    return put
