"""Which file of a folder holds an image tower's weights."""

import json
from pathlib import Path

import pytest

from visunex.clip.pretrained import locate
from visunex.pipeline.errors import ModelError


def folder_with(path: Path, *names: str) -> str:
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"vision_cfg": {}}}))
    for name in names:
        (path / name).write_bytes(b"weights")
    return f"local-dir:{path}"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ["pytorch_model.bin", "open_clip_pytorch_model.bin", "other.safetensors"],
            "open_clip_pytorch_model.bin",
        ),
        (["open_clip_model.safetensors", "open_clip_pytorch_model.bin"], "open_clip_model.safetensors"),
        (["mine.pth", "readme.txt"], "mine.pth"),
    ],
)
def test_the_file_is_the_one_that_open_clip_loads(tmp_path: Path, names: list[str], found: str) -> None:
    from open_clip.factory import _find_checkpoint_in_dir

    model = folder_with(tmp_path, *names)
    assert locate(model, "").file == tmp_path / found == Path(_find_checkpoint_in_dir(tmp_path))


def test_none_and_several_are_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights; put open_clip_model"):
        locate(folder_with(tmp_path), "")
    with pytest.raises(ModelError, match=r"several files of weights \(a.pth, b.bin\); name the right one"):
        locate(folder_with(tmp_path, "a.pth", "b.bin"), "")
