"""The demo recipes reproduce: run again elsewhere, they give the same file, byte for byte."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from visunex.pipeline.cli import main

FEW = ["filter.top=15", "download.shard_size=10", "download.processes=2", "download.deadline=5"]
SETTINGS = [f"--set={each}" for each in FEW]


@pytest.mark.parametrize("recipe", ["demo_flower", "demo_night"])
def test_a_demo_recipe_reproduces_exactly(recipe: str, tmp_path: Path) -> None:
    for run in ("first", "second"):
        done = CliRunner().invoke(main, ["run", recipe, "--run", str(tmp_path / run), *SETTINGS])
        assert done.exit_code == 0, done.output
    first, second = (tmp_path / run / "embedding.pt" for run in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
