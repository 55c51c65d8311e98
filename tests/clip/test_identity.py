"""Whose vectors they are, and how long, told by names and configurations without loading a model."""

import subprocess
import sys
from pathlib import Path

import pytest

from visunex.clip.identity import dimension_of, model_of, other_model
from visunex.demo import TINY_MODEL
from visunex.demo.tiny import CLIP_NAME


@pytest.mark.parametrize(
    ("model", "dimension"),
    [("ViT-L-14", 768), ("ViT-B-32", 512), (TINY_MODEL, 768), (CLIP_NAME, 768), ("no-such-model", None)],
)
def test_dimensions_are_read_from_configurations(model: str, dimension: int | None) -> None:
    assert dimension_of(model) == dimension


def test_a_folder_without_a_configuration_says_nothing(tmp_path: Path) -> None:
    assert dimension_of(f"local-dir:{tmp_path}") is None


def test_models_that_bring_their_own_weights_have_no_other() -> None:
    assert model_of("ViT-B-32", "openai") == ["ViT-B-32", "openai"]
    assert model_of(TINY_MODEL, "openai") == [TINY_MODEL, ""]
    assert model_of("local-dir:/clip", "openai") == ["local-dir:/clip", ""]


def test_another_model_is_named_and_silence_is_not_one() -> None:
    assert other_model({}, "ViT-L-14", "openai") is None
    assert other_model({"model": ["ViT-L-14", "openai"]}, "ViT-L-14", "openai") is None
    assert other_model({"model": [TINY_MODEL, ""]}, "ViT-L-14", "openai") == (TINY_MODEL, "ViT-L-14 openai")
    assert other_model({"model": "mine"}, TINY_MODEL, "openai") == ("mine", TINY_MODEL)


def test_asking_loads_no_torch() -> None:
    code = (
        "import sys; from visunex.clip.identity import dimension_of; dimension_of('ViT-L-14'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
