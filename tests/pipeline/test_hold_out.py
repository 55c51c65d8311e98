"""`--hold-out`: pictures are left out of an embedding by a hash of their keys."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from visunex.aesthetic_embeddings import load, reduce
from visunex.demo.scenes import Scene, render
from visunex.pipeline.cli import main
from visunex.pipeline.vectors.store import read_vectors


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        scene = Scene("castle", "night" if number % 2 else "day", garden=False, seed=number)
        render(scene).save(folder / f"{number:03d}.png")
    return folder


def encode(images: Path, run: Path, *options: str) -> Result:
    words = [
        "encode",
        "--images",
        str(images),
        "--run",
        str(run),
        "--model",
        "visunex-tiny",
        "--workers",
        "0",
    ]
    return CliRunner().invoke(main, [*words, *options])


def held_out(run: Path) -> list[str]:
    said = json.loads((run / "embedding.json").read_text(encoding="utf-8"))
    return list(said["held_out"]["keys"])


def test_the_embedding_is_of_the_others_alone(images: Path, tmp_path: Path) -> None:
    done = encode(images, tmp_path / "run", "--hold-out", "0.25")
    assert done.exit_code == 0, done.output
    left_out = held_out(tmp_path / "run")
    assert f"held out {len(left_out)}" in done.output
    rows = pq.read_table(tmp_path / "run" / "choice.parquet").to_pylist()
    assert [row["key"] for row in rows if row["status"] == "held_out"] == left_out
    assert 4 <= len(left_out) <= 16  # of 40, each by a hash of its own
    units = np.concatenate(list(read_vectors(tmp_path / "run" / "vectors").units()))
    kept = units[[row["status"] == "chosen" for row in rows]]
    assert load(tmp_path / "run" / "embedding.pt").vector == pytest.approx(reduce([kept]), abs=1e-6)
    # The same pictures, whatever else is there, and without the option none.
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(images.iterdir())[:20]:
        (few / path.name).write_bytes(path.read_bytes())
    assert encode(few, tmp_path / "other", "--hold-out", "0.25").exit_code == 0
    assert held_out(tmp_path / "other") == [key for key in left_out if key < "020"]
    assert encode(images, tmp_path / "run").exit_code == 0
    assert "held_out" not in json.loads((tmp_path / "run" / "embedding.json").read_text(encoding="utf-8"))
    assert not (tmp_path / "run" / "choice.parquet").exists()


def test_what_is_curated_leaves_them_out_too(images: Path, tmp_path: Path) -> None:
    assert encode(images, tmp_path / "run", "--hold-out", "0.25").exit_code == 0
    drop = next(
        f"{number:03d}.png" for number in range(40) if f"{number:03d}.png" not in held_out(tmp_path / "run")
    )
    words = ["curate", str(tmp_path / "run"), "--drop", drop, "--out", str(tmp_path / "mine.pt"), "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    (made,) = json.loads(done.stdout)["embeddings"]
    assert made["kept"] == 40 - len(held_out(tmp_path / "run")) - 1


def test_a_share_that_is_none_is_refused(images: Path, tmp_path: Path) -> None:
    for share in ("1", "-0.1"):
        done = encode(images, tmp_path / "run", "--hold-out", share)
        assert done.exit_code == 2
        assert "--hold-out" in done.output
