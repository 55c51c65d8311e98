"""What is wrong is said before anything is drawn, in the terms of the command."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from evaluating import OPTIONS
from filelock import FileLock

from visunex.evaluate.cli import main
from visunex.evaluate.judges import judged, judges_named


def refused(*words: object, code: int = 2) -> str:
    done = CliRunner().invoke(main, [*map(str, (*OPTIONS, *words))])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--aesthetic_steps", "0"], "nothing is compared"),
        (["--judge", "flower"], "did you mean flowers?"),
        (
            ["--judge", "flowers", "--judge", "other:flowers"],
            "another column of the results is called flowers",
        ),
        (["--judge", "mine:seed"], "another column of the results is called seed"),
        (["--score", "V1"], "add --also ViT-L-14:openai"),
        (["--also", "ViT-L-14:"], "no MODEL:WEIGHTS"),
        (["--scheduler", "nothing"], "nothing"),
        (["--prompts", "/dev/null"], "holds no prompt"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Path, tmp_path: Path, words: list[str], said: str) -> None:
    assert said in refused("--aesthetic_embedding", run, "--outdir", tmp_path / "out", *words)
    assert not list(tmp_path.rglob("*.png"))


def test_no_taste_and_none_of_that_name(run: Path, tmp_path: Path) -> None:
    assert "--aesthetic_embedding" in refused("--outdir", tmp_path)
    refused("--aesthetic_embedding", tmp_path / "none.pt", "--outdir", tmp_path, code=1)
    twice = ("--aesthetic_embedding", run, "--aesthetic_embedding", run)
    assert "twice" in refused(*twice, "--outdir", tmp_path)


def test_a_folder_in_use_is_left_alone(run: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"):
        said = refused("--aesthetic_embedding", run, "--outdir", tmp_path, code=1)
    assert "in use by another process" in said


def test_a_judge_that_another_package_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "red_judge.py").write_text(
        "def red(images, prompts):\n    return [image.getpixel((0, 0))[0] / 255 for image in images]\n"
        "def wrong(images, prompts):\n    return [1.0]\n",
        encoding="utf-8",
    )
    about = tmp_path / "red_judge-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: red-judge\nVersion: 1.0\n", encoding="utf-8"
    )
    points = "[visunex.judges]\nred = red_judge:red\nwrong = red_judge:wrong\ngone = red_judge:gone\n"
    (about / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from PIL import Image

    images = [Image.new("RGB", (2, 2), colour) for colour in ((255, 0, 0), (51, 0, 0))]
    found = judged(judges_named(["red", "flowers"]), images, ["a", "b"])
    assert found["red"].tolist() == [1.0, 0.2]
    assert judged(judges_named(["red_judge:red"]), images, ["a", "b"])["red"].tolist() == [1.0, 0.2]
    with pytest.raises(Exception, match="numbers for 2 pictures"):
        judged(judges_named(["wrong"]), images, ["a", "b"])
    with pytest.raises(Exception, match="judge gone cannot be loaded"):
        judges_named(["gone"])
