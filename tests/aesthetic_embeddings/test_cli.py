"""`visunex-data embeddings`: what a person does with finished embeddings."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from visunex.aesthetic_embeddings import load, save
from visunex.pipeline.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISUNEX_MIRROR", raising=False)


def embeddings(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["embeddings", *map(str, arguments)], prog_name="visunex-data")


def test_show_tells_shape_norm_provenance_and_cosines(reference: Path, tmp_path: Path) -> None:
    save(
        tmp_path / "runs" / "mine" / "embedding.pt",
        np.ones(768),
        {"reduction": "mean", "images": {"used": 3}},
    )
    save(tmp_path / "small.pt", np.ones(4), {})
    done = embeddings("show", "runs/mine/embedding.pt", "--mirror", reference, "--folder", tmp_path)
    assert done.exit_code == 0, done.output
    assert "1x768 float32, norm 27.7128" in done.output
    assert "reduction: mean" in done.output
    assert sum(name in done.output for name in ("aivazovsky", "sac_8plus", "laion_7plus")) == 3
    assert "small" not in done.output
    done = embeddings("show", "laion_7plus", "--mirror", reference, "--json")
    report = json.loads(done.output)
    assert (report["shape"], report["published"], report["provenance"]) == ("768", "laion_7plus", None)
    cosines = [row["cosine"] for row in report["cosines"]]
    assert len(cosines) == 8
    assert cosines == sorted(cosines, reverse=True)


def test_compare_mix_and_fetch(reference: Path, tmp_path: Path) -> None:
    assert "not on this machine" in embeddings("compare", "fantasy", "glowwave").output
    done = embeddings("fetch", "fantasy", "glowwave", "--mirror", reference)
    assert done.exit_code == 0, done.output
    cosine = float(embeddings("compare", "fantasy", "glowwave").output)
    assert 0.66 < cosine < 0.92
    done = embeddings("mix", "fantasy=2", "glowwave", "--out", "mixed.pt")
    assert done.exit_code == 0, done.output
    mixed = load("mixed.pt")
    assert mixed.norm == pytest.approx(1)
    assert [part["weight"] for part in (mixed.provenance or {})["mixed_from"]] == [2, 1]
    assert float(embeddings("compare", "mixed.pt", "fantasy").output) > cosine
    assert "mixed from" in embeddings("show", "mixed.pt").output
    assert embeddings("fetch", "--all", "--mirror", reference).output.count(".pt") == 8


def test_list_shows_the_catalogue_and_what_is_here(reference: Path, tmp_path: Path) -> None:
    save(tmp_path / "runs" / "mine" / "embedding.pt", np.ones(768), {})
    plain = embeddings("list").output
    assert plain.count("not fetched") == 8
    assert "mine" in plain
    embeddings("fetch", "fantasy", "--mirror", reference)
    assert embeddings("list").output.count("not fetched") == 7
    report = json.loads(embeddings("list", "--mirror", reference, "--json").output)
    assert all(row["file"] for row in report["published"])
    assert [row["name"] for row in report["local"]] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["show", "nonsense"], 1, "no embedding called 'nonsense'"),
        (["fetch"], 2, "aivazovsky, cloudcore"),
        (["fetch", "nonsense"], 1, "no published embedding"),
        (["mix", "a=b", "--out", "x.pt"], 2, "EMBEDDING=WEIGHT"),
        (["show", "page.pt"], 1, "web page"),
    ],
)
def test_errors_are_a_sentence_and_an_exit_status(arguments: list[str], status: int, sentence: str) -> None:
    Path("page.pt").write_text("<html></html>", encoding="utf-8")
    done = embeddings(*arguments)
    assert done.exit_code == status
    assert sentence in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("theirs", ["mine.json", "mine.pt"])
def test_files_that_are_not_ours_are_kept(tmp_path: Path, theirs: str) -> None:
    save(tmp_path / "a.pt", np.ones(4), {})
    (tmp_path / theirs).write_text('{"my": "settings"}')
    arguments = ("mix", "a.pt", "--out", "mine.pt")
    done = embeddings(*arguments)
    assert done.exit_code == 1
    assert theirs in done.output
    assert "--overwrite" in done.output
    assert (tmp_path / theirs).read_text() == '{"my": "settings"}'
    assert embeddings(*arguments, "--overwrite").exit_code == 0
    assert embeddings(*arguments).exit_code == 0  # ours now
    (tmp_path / "mine.json").write_text("[" * 100_000)  # and changed by hand
    assert embeddings(*arguments).exit_code == 1
    assert embeddings("mix", "a.pt", "--out", "mine.json").exit_code == 2
    (tmp_path / "folder.pt").mkdir()
    assert embeddings("mix", "a.pt", "--out", "folder.pt").exit_code == 2


def test_show_speaks_plain_words(tmp_path: Path) -> None:
    story = {
        "pictures": ["a folder", "b.tar"],
        "images": {"used": 3, "failed": {"damaged": 2}, "weighted": True, "left_out": None},
        "mixed_from": [{"name": "fantasy", "weight": 2.0}, {"name": "mine", "weight": 0.5}],
        "model": {"name": "ViT-L-14", "pretrained": "openai"},
        "baseline": None,
    }
    save(tmp_path / "a.pt", np.ones(4), story)
    shown = embeddings("show", "a.pt").output
    assert "pictures: a folder, b.tar" in shown
    assert "images: used 3, failed (damaged 2), weighted yes, left out none" in shown
    assert "mixed from: fantasy (weight 2), mine (weight 0.5)" in shown
    assert "model: ViT-L-14 openai\n" in shown
    assert not set("{}[]'") & set(shown)
