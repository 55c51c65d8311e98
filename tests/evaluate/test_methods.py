"""Each method gets the taste into pictures, over the same noise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from visunex.export import lora, prompt_set, tokens, word_search

Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learnt is learnt on fewer prompts, in fewer steps, from fewer words."""
    for name, count in {"TRAINED": 8, "CHOSEN": 4, "JUDGED": 4}.items():
        monkeypatch.setattr(prompt_set, name, count)
    monkeypatch.setattr(lora, "STEPS", {"imitate": 10, "cosine": 10})
    monkeypatch.setattr(tokens, "STEPS", 10)
    monkeypatch.setattr(word_search, "SIFTED", ((1, 8), (2, 4)))


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(folder / "results.parquet").to_pylist():
        found.setdefault(row["setting"], []).append(row)
    return found


def test_best_of_two_is_the_nearer_of_two(
    evaluate: Evaluate, run: Path, prompts: Path, tmp_path: Path
) -> None:
    common = ("--aesthetic_embedding", run, "--prompts", prompts)
    evaluate(tmp_path / "two", *common, "--method", "best-of", "--best_of", "2")
    evaluate(tmp_path / "four", *common, "--aesthetic_steps", "1", "--seeds", "4")
    best, plain = rows_of(tmp_path / "two")["best of 2"], rows_of(tmp_path / "four")["plain"]
    for row in best:
        pair = [each["taste"] for each in plain if each["prompt"] == row["prompt"]]
        at = row["seed"] - 42
        assert row["taste"] == pytest.approx(max(pair[at], pair[at + 2]), abs=1e-3)


@pytest.mark.usefixtures("quick")
def test_what_is_learnt_draws_other_pictures(
    evaluate: Evaluate, run: Path, prompts: Path, tmp_path: Path
) -> None:
    methods = ("--method", "lora", "--method", "token", "--method", "prompt")
    out = tmp_path / "out"
    evaluate(out, "--aesthetic_embedding", run, "--prompts", prompts, "--aesthetic_steps", "5", *methods)
    found = rows_of(out)
    assert list(found) == ["plain", "lora 5", "token 5", "words"]
    pictures = {name: [(out / row["image"]).read_bytes() for row in rows] for name, rows in found.items()}
    for name in ("lora 5", "token 5", "words"):
        assert all(own != plain for own, plain in zip(pictures[name], pictures["plain"], strict=True))
    again = (out / "results.parquet").read_bytes()
    evaluate(out, "--aesthetic_embedding", run, "--prompts", prompts, "--aesthetic_steps", "5", *methods)
    assert (out / "results.parquet").read_bytes() == again
