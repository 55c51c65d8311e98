"""A taste of likes and dislikes: two folders, or a table of ratings."""

from pathlib import Path

import numpy as np
import odd
import pytest
from click.testing import CliRunner, Result

from visunex.aesthetic_embeddings import load
from visunex.pipeline.cli import main
from visunex.pipeline.vectors.store import read_vectors


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd.small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, seed in (("liked", 0), ("disliked", 5)):
        Path(name).mkdir()
        for index in range(4):
            image = odd.gradient((40 + index, 32 + seed)).rotate(30 * (index + seed))
            Path(name, f"{index}.png").write_bytes(odd.file(image, "PNG"))


def encode(model: str, *arguments: object) -> Result:
    given = ["encode", "--model", model, "--workers", "0", *map(str, arguments)]
    return CliRunner().invoke(main, given, prog_name="visunex-data")


def vector(name: str) -> np.ndarray:
    return load(name).unit.reshape(-1)


def ratings(name: str, scores: dict[str, float]) -> None:
    Path(name).write_text("path,score\n" + "".join(f"{path},{score}\n" for path, score in scores.items()))


FILES = [f"{name}/{index}.png" for name in ("liked", "disliked") for index in range(4)]


def test_dislikes_are_a_contrast_by_hand(model: str) -> None:
    done = encode(model, "--images", "liked", "--disliked", "disliked", "--out", "a.pt")
    assert done.exit_code == 0, done.output
    by_hand = encode(
        model, "--images", "liked", "--reduce", "contrast", "--baseline", "disliked", "--out", "b.pt"
    )
    assert by_hand.exit_code == 0, by_hand.output
    assert Path("a.pt").read_bytes() == Path("b.pt").read_bytes()
    ratings("r.csv", {path: float(path.startswith("liked")) for path in FILES})
    assert encode(model, "--ratings", "r.csv", "--out", "c.pt").exit_code == 0
    assert np.allclose(vector("a.pt"), vector("c.pt"), atol=1e-5)


def test_ratings_pull_and_push_by_how_far_they_lie_from_their_mean(model: str) -> None:
    scores = dict(zip(FILES, (5, 4, 4.5, 3, 1, 2, 1, 3), strict=True))
    ratings("r.csv", scores)
    done = encode(model, "--ratings", "r.csv", "--run", "r", "--out", "a.pt")
    assert done.exit_code == 0, done.output
    folder = read_vectors(Path("r/vectors"))
    assert len(folder.parts) == 1  # pictures named one by one are encoded together
    units = np.concatenate(list(folder.units())).astype(np.float64)
    weights = np.array(list(scores.values())) - np.mean(list(scores.values()))
    assert folder.scores().tolist() == list(scores.values())
    expected = weights @ units
    assert np.allclose(vector("a.pt"), expected / np.linalg.norm(expected), atol=1e-6)
    said = load("a.pt").provenance or {}
    assert (said["reduction"], said["ratings"]["file"], said["ratings"]["pictures"]) == (
        "score-contrast",
        "r.csv",
        8,
    )
    scores["liked/0.png"] = 1
    ratings("r.csv", scores)
    again = encode(model, "--ratings", "r.csv", "--run", "r", "--out", "b.pt", "--json")
    assert again.exit_code == 0, again.output
    assert '"encoded_now": 0' in again.stdout  # another opinion needs no encoder
    assert not np.allclose(vector("a.pt"), vector("b.pt"), atol=1e-3)
    weighted = encode(model, "--ratings", "r.csv", "--reduce", "score-weighted", "--out", "w.pt")
    assert weighted.exit_code == 0, weighted.output


def test_a_table_may_lie_beside_its_pictures_and_have_several_peoples_ratings(model: str) -> None:
    Path("liked/r.tsv").write_text("0.png\t5\n1.png\t3\n0.png\t1\n2.png\t0\n\n")
    assert encode(model, "--ratings", "liked/r.tsv", "--out", "a.pt").exit_code == 0
    ratings("r.csv", {"liked/0.png": 3, "liked/1.png": 3, "liked/2.png": 0})
    assert encode(model, "--ratings", "r.csv", "--out", "b.pt").exit_code == 0
    assert Path("a.pt").read_bytes() == Path("b.pt").read_bytes()


@pytest.mark.parametrize(
    ("table", "arguments", "fault"),
    [
        ("path,score\nliked/0.png,good\n", (), r"line 2: 'liked/0.png,good' is no path and score"),
        ("liked/0.png,1\nliked/9.png,2\n", (), "line 2: liked/9.png is not there"),
        ("liked/0.png,nan\n", (), "has no column path"),
        ("name,stars\nx,1\n", (), "has no column path: its first line says name, stars"),
        ("\n", (), "has no ratings"),
        ("liked/0.png,2\nliked/1.png,2\n", (), "all are equal"),
        ("liked/0.png,1\n", ("--reduce", "mean"), "mean knows no scores; with --ratings it is"),
        ("liked/0.png,1\n", ("--images", "liked"), "leave --images out"),
        ("liked/0.png,1\n", ("--disliked", "disliked"), "leave --disliked out"),
    ],
)
def test_what_is_no_table_of_ratings_is_named(
    model: str, table: str, arguments: tuple[str, ...], fault: str
) -> None:
    Path("r.csv").write_text(table)
    done = encode(model, "--ratings", "r.csv", "--out", "a.pt", *arguments)
    assert done.exit_code in (1, 2)
    assert fault in done.stderr
    assert not Path("a.pt").exists()


def test_bytes_that_are_no_text_are_no_traceback(model: str) -> None:
    Path("r.csv").write_bytes(b"\xff\xfe\x00")
    assert "is no text in UTF-8" in encode(model, "--ratings", "r.csv", "--out", "a.pt").stderr
    Path("r.csv").write_text("x" * 200_000 + ",1\n")
    assert "is no CSV file" in encode(model, "--ratings", "r.csv", "--out", "a.pt").stderr


@pytest.mark.parametrize("more", [("--reduce", "mean"), ("--baseline", "x")])
def test_dislikes_beside_what_contradicts_them_are_refused(model: str, more: tuple[str, str]) -> None:
    done = encode(model, "--images", "liked", "--disliked", "disliked", "--out", "a.pt", *more)
    assert done.exit_code == 2
    assert f"leave out {more[0]}" in done.stderr
