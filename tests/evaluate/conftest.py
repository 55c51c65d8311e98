"""A taste as a run with pictures left out, and an evaluation of it that all tests look at."""

from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from evaluating import PROMPTS, Done, asked

from visunex.demo.scenes import Scene, render
from visunex.evaluate.cli import main
from visunex.export import gradient_words, lora, prompt_set, tokens, word_search
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


def learn_little(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone learn on fewer prompts, in fewer steps, from fewer words."""
    for name, count in {"TRAINED": 8, "CHOSEN": 4, "JUDGED": 4}.items():
        patch.setattr(prompt_set, name, count)
    patch.setattr(lora, "STEPS", {"imitate": 10, "cosine": 10})
    for module in (tokens, gradient_words):
        patch.setattr(module, "STEPS", 10)
    patch.setattr(word_search, "SIFTED", ((1, 8), (2, 4)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each test of this folder; those of others that run after it learn as they do."""
    learn_little(monkeypatch)


@pytest.fixture(scope="session")
def done(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """An undisturbed evaluation of every method, its command, and its rows."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "prompts.txt").write_text("\n".join(("# two", *PROMPTS)), encoding="utf-8")
    words = [*map(str, asked(run, folder / "prompts.txt"))]
    every = [*words, "--best_of", "2"]
    for method in ("steer", "lora", "token", "prompt", "best-of"):
        every += ["--method", method]
    with pytest.MonkeyPatch.context() as patch:
        learn_little(patch)
        made = CliRunner().invoke(main, [*every, "--outdir", str(folder / "out")])
    assert made.exit_code == 0, made.output
    rows = pq.read_table(folder / "out" / "results.parquet").to_pylist()
    return Done(folder / "out", words, every, rows)
