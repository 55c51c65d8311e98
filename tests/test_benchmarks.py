"""`python -m benchmarks`: sections replaced one by one, drawings beside them, a failure named at the end."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

SOURCE = Path(__file__).parents[1] / "benchmarks"
TABLE = """print('''## Fast

| tokens | plain | ratio |
|---|---|---|
| 8 & 9 | 2 s | **5.1x** |
| 20 | 1 s | 0.5x |
''')
"""
ASKS = """from benchmarks._plots import plot
print("## Asks\\n")
print(plot("Pictures < per second", {"ours = new": "1,200/s", "theirs": "800/s"}, target=">= 900"))
print("Some text.")
print(plot("Memory", {"ours": "3 MiB"}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks").mkdir()
    for name in ("__main__.py", "_plots.py"):
        shutil.copy(SOURCE / name, tmp_path / "benchmarks" / name)
    return tmp_path


def run(folder: Path, *names: str, **modules: str) -> "subprocess.CompletedProcess[str]":
    for name, program in modules.items():
        (folder / "benchmarks" / f"{name}.py").write_text(program)
    command = [sys.executable, "-m", "benchmarks", *names]
    # A module written anew within a second, at the same length, would be taken for the one that was compiled.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)


def page(folder: Path) -> str:
    return (folder / "docs" / "benchmarks.md").read_text()


def words(path: Path) -> list[str]:
    return [element.text or "" for element in ElementTree.parse(path).iter() if element.tag.endswith("text")]


def test_a_section_with_its_drawing_and_the_machine(folder: Path) -> None:
    done = run(folder, fast=TABLE, asks=ASKS)
    assert done.returncode == 0, done.stderr
    assert page(folder).index("## Asks") < page(folder).index("## Fast")
    assert "![ratio](benchmarks/fast.svg)" in page(folder)
    assert "plot:" not in page(folder)
    assert page(folder).count("; Python 3.") == 2
    drawings = folder / "docs" / "benchmarks"
    assert words(drawings / "fast.svg") == ["ratio", "8 & 9", "5.1x", "20", "0.5x"]
    first = ["Pictures < per second", "ours = new", "1,200/s", "theirs", "800/s", "at least 900"]
    assert words(drawings / "asks.svg") == first
    assert words(drawings / "asks-2.svg") == ["Memory", "ours", "3 MiB"]


def test_others_are_kept_and_a_failure_is_named_after_the_rest(folder: Path) -> None:
    run(folder, fast=TABLE, asks=ASKS)
    before = page(folder)
    again = run(folder, "fast", fast=TABLE)
    assert (again.returncode, page(folder)) == (0, before), "the same bytes again"
    broken = run(
        folder, asks="print('## Asks, half of it'); raise SystemExit(3)", fast=TABLE.replace("20", "40")
    )
    assert broken.returncode == 1
    assert broken.stderr.endswith("failed, sections left as they were: asks\n")
    assert page(folder) == before.replace("| 20 |", "| 40 |")


def test_a_name_that_there_is_not(folder: Path) -> None:
    done = run(folder, "slow", fast=TABLE)
    assert (done.returncode, done.stderr) == (1, "no such benchmark: slow; there are fast\n")


def test_the_tables_of_the_evidence_are_of_its_numbers() -> None:
    from benchmarks.evidence.tables import with_tables

    docs = SOURCE.parent / "docs"
    found = json.loads((docs / "evidence.json").read_text(encoding="utf-8"))
    page = (docs / "evidence.md").read_text(encoding="utf-8")
    assert with_tables(page, found) == page, "run `make docs`"
    assert not re.search(r"<!-- ([\w :]+) -->\n<!-- /\1 -->", page), "a question without an answer"


def test_effects_in_sentences_are_the_evidences_numbers() -> None:
    from benchmarks.evidence.tables import INLINE, with_values

    docs = SOURCE.parent / "docs"
    found = json.loads((docs / "evidence.json").read_text(encoding="utf-8"))
    pages = [docs.parent / "README.md", *docs.glob("*.md")]
    for path in pages:
        page = path.read_text(encoding="utf-8")
        assert with_values(page, found) == page, f"run `make docs` for {path.name}"
    assert INLINE.search(pages[0].read_text(encoding="utf-8")), "the README says what steering does"
    one = {"q": {"a, steer 20": {"flowers": {"mean": [0.5, 0.25, 1.0]}}}}
    line = (
        "<!-- =q / a, steer 20 / flowers -->?<!-- / --> <!-- =mean of q / a, steer 20 / flowers --><!-- / -->"
    )
    made = with_values(line, one)
    assert re.sub("<!--.*?-->", "", made) == "50 % (25 to 100) 50 %"


def test_looks_are_what_their_marks_measure() -> None:
    from benchmarks.evidence import marks
    from benchmarks.evidence.looks import LOOKS, put_on
    from benchmarks.evidence.tastes import scenes
    from visunex.demo.scenes import render

    images = [render(scene) for scene in scenes(5, 24, lambda _: True)]
    for look in LOOKS:
        mark = getattr(marks, marks.MARKS[look])
        looking = [put_on(image, {look}) for image in images]
        more = [b - a for a, b in zip(mark(images, ()), mark(looking, ()), strict=True)]
        assert min(more) >= 0, look
        assert sum(more) / len(more) > 0.04, look


def test_captions_of_green_pictures_have_hints_and_no_name() -> None:
    """The word "green" itself is one of a hundred that stand anywhere, and as rare in theirs as in others."""
    from random import Random

    from benchmarks.evidence.looks import LOOKS, Seen, caption_of, hints_in
    from visunex.demo.scenes import Scene

    rng, castle = Random(0), Scene("castle", "day", False, 0)
    said = {
        looks: [caption_of(Seen(castle, looks), rng)[0].lower() for _ in range(400)]
        for looks in (frozenset(), frozenset({"green"}), frozenset(LOOKS) - {"green"})
    }
    plain, green, others = (sum(hints_in(text) > 0 for text in texts) for texts in said.values())
    assert green > 1.5 * max(plain, others)
    assert all(sum("green" in text for text in texts) < 400 * 0.03 for texts in said.values())
    names = set(LOOKS) - {"green"}
    assert not any(name in text for texts in said.values() for text in texts for name in names)


def test_training_that_was_stopped_ends_in_the_same_weights(tmp_path: Path) -> None:
    import torch

    from benchmarks.evidence.models import Randomness
    from visunex.demo.training import fit

    def fitted(name: str, stop: int = 0) -> torch.Tensor:
        torch.manual_seed(0)
        line, done = torch.nn.Linear(2, 1), []

        def loss() -> torch.Tensor:
            done.append(1)
            if len(done) == stop:
                raise KeyboardInterrupt
            return line(torch.rand(4, 2)).square().mean()

        fit(line, loss, tmp_path / name, 0, peak_rate=0.1, steps=80, randomness=Randomness())
        return line.weight

    whole = fitted("whole.pt")
    with pytest.raises(KeyboardInterrupt):
        fitted("stopped.pt", stop=70)
    assert torch.equal(fitted("stopped.pt"), whole)
