"""A taste as a run with pictures left out, and the command."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from evaluating import OPTIONS, PROMPTS

from visunex.demo.scenes import Scene, render
from visunex.evaluate.cli import main
from visunex.pipeline.cli import main as data


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 pictures of gardens, some held out, encoded by both tiny CLIPs."""
    folder = tmp_path_factory.mktemp("tastes")
    rng = Random(3)
    (folder / "pictures").mkdir()
    for number in range(24):
        scene = Scene(rng.choice(["castle", "tree", "house"]), "day", garden=True, seed=number)
        render(scene).save(folder / "pictures" / f"{number:03d}.png")
    words = [
        "encode",
        "--images",
        folder / "pictures",
        "--run",
        folder / "gardens",
        "--model",
        "visunex-tiny",
    ]
    words += ["--also", "visunex-judge", "--hold-out", "0.25", "--workers", "0"]
    done = CliRunner().invoke(data, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return folder / "gardens"


@pytest.fixture
def evaluate() -> Callable[..., dict[str, Any]]:
    """Run the command; its report."""

    def run(outdir: Path, *options: object) -> dict[str, Any]:
        words = [*OPTIONS, "--outdir", outdir, *options, "--json"]
        done = CliRunner().invoke(main, [*map(str, words)])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    return run


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(("# two", *PROMPTS)), encoding="utf-8")
    return path
