"""`visunex-evaluate` on visunex-tiny: what its files say, against the same computed by open_clip alone."""

import json
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from evaluating import PROMPTS, Done
from PIL import Image

from visunex.aesthetic_embeddings import load
from visunex.demo.colours import flower_share
from visunex.demo.tiny import CLIP_FOLDERS
from visunex.evaluate import judges
from visunex.evaluate.cli import main
from visunex.generate import Taste
from visunex.pipeline.score import Head, predictors
from visunex.pipeline.score.head import Layer
from visunex.pipeline.vectors.store import read_vectors


def clip(name: str) -> tuple[Any, Any, Any]:
    folder = f"local-dir:{CLIP_FOLDERS[name]}"
    model, _, preprocess = open_clip.create_model_and_transforms(folder)
    return model.eval(), preprocess, open_clip.get_tokenizer(folder)


@torch.no_grad()
def units(name: str, images: list[Image.Image], texts: list[str]) -> tuple[Any, Any]:
    model, preprocess, tokenizer = clip(name)
    seen = model.encode_image(torch.stack([preprocess(each) for each in images]))
    read = model.encode_text(tokenizer(texts))
    return tuple(torch.nn.functional.normalize(each, dim=-1).numpy() for each in (seen, read))


def test_there_is_a_row_for_each_picture_in_order(done: Done) -> None:
    rows = done.rows[:8]
    assert [(row["setting"], row["prompt"], row["seed"]) for row in rows] == [
        (setting, prompt, seed)
        for setting in ("plain", "steer 10")
        for prompt in PROMPTS
        for seed in (42, 43)
    ]
    assert all((done.folder / row["image"]).exists() for row in done.rows)


@pytest.mark.parametrize(("model", "behind"), [("visunex-tiny", ""), ("visunex-judge", ":visunex-judge")])
def test_each_measure_is_what_open_clip_says(done: Done, run: Path, model: str, behind: str) -> None:
    folder, rows = done.folder, done.rows
    images = [Image.open(folder / row["image"]).convert("RGB") for row in rows]
    seen, read = units(model, images, [row["prompt"] for row in rows])
    suffix = behind.replace(":", "-")
    taste = load(run / f"embedding{suffix}.pt").vector[0]
    choice = {row["image_path"]: row["status"] for row in pq.read_table(run / "choice.parquet").to_pylist()}
    vectors = read_vectors(run / f"vectors{suffix}")
    where = pq.read_table(vectors.parts[0].metadata)["image_path"].to_pylist()
    held_out = np.concatenate(list(vectors.units()))[[choice[name] == "held_out" for name in where]]
    assert 0 < len(held_out) < 24
    pairs = [(at, at + 1) for at in range(0, len(rows), 2)]
    apart = [1 - seen[a] @ seen[b] for a, b in pairs]
    expected = {
        f"taste{behind}": seen @ taste / np.linalg.norm(taste),
        f"clip_i{behind}": (seen @ held_out.T).mean(axis=1),
        f"clip_t{behind}": (seen * read).sum(axis=1),
        f"diversity{behind}": np.repeat(apart, 2),
    }
    for name, values in expected.items():
        assert [row[name] for row in rows] == pytest.approx(values.tolist(), abs=1e-4), name


def test_a_judge_that_knows_nothing_of_clip(done: Done) -> None:
    shares = [flower_share(Image.open(done.folder / row["image"])) for row in done.rows]
    assert [row["flowers"] for row in done.rows] == [float(share > 0.02) for share in shares]


def test_the_page_shows_every_picture(done: Done) -> None:
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert all(f'src="{row["image"]}"' in page for row in done.rows)
    assert "<script" not in page


def test_the_page_shows_votes(done: Done, run: Path, tmp_path: Path) -> None:
    plain: dict[str, Any] = {"prompt": "a castle", "aesthetic_steps": 0}
    taste = Taste.load(run)
    ten = {**plain, "aesthetic_embedding": "x", "aesthetic_sha256": taste.digest, "aesthetic_steps": 10}
    line = {"choice": "right", "left": {"about": plain}, "right": {"about": ten}}
    (tmp_path / "votes.jsonl").write_text(json.dumps(line), encoding="utf-8")
    out = shutil.copytree(done.folder, tmp_path / "out")
    made = CliRunner().invoke(
        main, [*done.words, "--outdir", str(out), "--votes", str(tmp_path / "votes.jsonl")]
    )
    assert made.exit_code == 0, made.output
    assert "steer 10  won 100% (100% to 100%) of 1 votes" in made.output
    assert "100 to 100 %, 1 votes" in (out / "report.html").read_text(encoding="utf-8")


def forked(act: Callable[[], object]) -> int:
    """The number of a process that does this, with all that was imported here, on one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads here, none of which it needs
        process = os.fork()
    if process == 0:
        try:
            torch.set_num_threads(1)
            act()
        finally:
            os._exit(0)
    return process


def test_killed_and_resumed_the_results_are_the_same_bytes(done: Done, tmp_path: Path) -> None:
    words = [*done.words, "--outdir", str(tmp_path / "out")]
    process = forked(lambda: CliRunner().invoke(main, words))
    until = time.monotonic() + 120
    while len(list(tmp_path.rglob("*.png"))) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    left = len(list(tmp_path.rglob("*.png")))
    assert 3 <= left < 8
    undisturbed = shutil.copytree(done.folder, tmp_path / "undisturbed")
    for again in (words, [*done.words, "--outdir", str(undisturbed)]):
        made = CliRunner().invoke(main, again)
        assert made.exit_code == 0, made.output
    for name in ("results.parquet", "report.html"):
        assert (tmp_path / "out" / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_run_that_only_its_own_encoder_saw_is_encoded_for_the_judge(
    done: Done, run: Path, tmp_path: Path
) -> None:
    """The same numbers as of a run that was encoded with --also."""
    alone, out = tmp_path / "alone", shutil.copytree(done.folder, tmp_path / "out")
    shutil.copytree(run, alone, ignore=lambda _, names: [name for name in names if "visunex-judge" in name])
    words = [str(alone) if word == str(run) else word for word in done.words]
    again = CliRunner().invoke(main, [*words, "--outdir", str(out)])
    assert again.exit_code == 0, again.output
    for row, before in zip(pq.read_table(out / "results.parquet").to_pylist(), done.rows, strict=False):
        for name in ("taste:visunex-judge", "clip_i:visunex-judge"):
            assert row[name] == pytest.approx(before[name], abs=1e-5)


def test_scores_are_the_predictors_own_of_the_pictures_vectors(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictors of the tiny encoder's vectors, one linear map each: 5, and three times the first number."""
    kernel = np.eye(768)[:, :1] * 3
    entries = {name: replace(each, model=("visunex-tiny", "")) for name, each in predictors().items()}
    monkeypatch.setattr(judges, "predictors", lambda: entries)
    monkeypatch.setattr(judges, "load", lambda _: Head((Layer(kernel, np.array([5.0])),)))
    out = shutil.copytree(done.folder, tmp_path / "out")
    again = CliRunner().invoke(main, [*done.words, "--outdir", str(out)])
    assert again.exit_code == 0, again.output
    rows = pq.read_table(out / "results.parquet").to_pylist()
    images = [Image.open(out / row["image"]).convert("RGB") for row in rows]
    seen, _ = units("visunex-tiny", images, ["a castle"])
    for name in ("V1", "V2", "sac"):
        assert [row[name] for row in rows] == pytest.approx((5 + 3 * seen[:, 0]).tolist(), abs=1e-4)
