"""The command, and embeddings to export."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from visunex.aesthetic_embeddings import save
from visunex.export.cli import main


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run the command in a folder of its own; its report."""
    monkeypatch.chdir(tmp_path)

    def run(*options: object) -> dict[str, Any]:
        done = CliRunner().invoke(main, [*map(str, options), "--json"])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    return run


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command where it has to end in a sentence; the sentence."""
    monkeypatch.chdir(tmp_path)

    def run(*options: object, code: int = 1) -> str:
        done = CliRunner().invoke(main, [*map(str, options)])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done.output

    return run


@pytest.fixture
def taste(tmp_path: Path) -> Callable[..., Path]:
    """An embedding of so many dimensions and such a length, in a file of its own."""

    def write(dimension: int = 768, norm: float = 0.8, name: str = "gardens") -> Path:
        vector = np.random.default_rng(3).normal(size=dimension)
        path = tmp_path / f"{name}.pt"
        save(path, vector / np.linalg.norm(vector) * norm, {"model": {"name": "ViT-L-14"}})
        return path

    return write


@pytest.fixture(scope="session")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The taste of the demo world's flowers: the mean of some drawn scenes with flowers, by visunex-tiny."""
    from visunex.demo.judge import Judge

    path = tmp_path_factory.mktemp("tastes") / "flowers.pt"
    save(path, Judge().flower_embedding(60).numpy(), {"model": {"name": "visunex-tiny"}})
    return path


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts of the demo world without flowers, a line each."""
    from itertools import product

    from visunex.demo.captions import label
    from visunex.demo.scene import PALETTES, Scene

    path = tmp_path_factory.mktemp("prompts") / "scenes.txt"
    subjects = ("castle", "ship")
    path.write_text(
        "\n".join(label(Scene(*each, garden=False, seed=0)) for each in product(subjects, PALETTES))
    )
    return path
