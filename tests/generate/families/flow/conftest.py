"""Tiny Stable Diffusion 3 and FLUX.1 models with random weights, as diffusers' folders."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_pipelines import VOCABULARY, WORDS, text_encoder
from transformer_pipelines import flux_pipe, sd3_pipe
from transformers import CLIPTokenizer

from visunex.demo.tokens import write_tokenizer

SIZE = 24  # of the projection that the tiny FLUX.1's CLIP brings


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`sd3`, `flux` and `schnell`, which has no guidance."""
    place = tmp_path_factory.mktemp("flow")
    write_tokenizer(place / "tokens", [WORDS], VOCABULARY - 10)

    def words() -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(place / "tokens", model_max_length=77)

    sd3_pipe(words).save_pretrained(place / "sd3")
    flux_pipe(words).save_pretrained(place / "schnell")
    flux_pipe(words, guidance_embeds=True).save_pretrained(place / "flux")
    for name in ("flux", "schnell"):  # a CLIP with a projection of its own: the published one is not here
        shutil.rmtree(place / name / "text_encoder")
        text_encoder(words(), 32, SIZE, 3).save_pretrained(place / name / "text_encoder")
    return {name: place / name for name in ("sd3", "flux", "schnell")}


@pytest.fixture
def changed(folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a model's folder in which a configuration says something else."""

    def change(name: str, part: str, file: str = "config.json", **values: Any) -> Path:
        shutil.copytree(folders[name], tmp_path / name)
        path = tmp_path / name / part / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        return tmp_path / name

    return change
