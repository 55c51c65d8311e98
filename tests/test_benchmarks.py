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
    assert with_tables(page, found) == page, "run `make evidence`, or its tables alone"
    assert not re.search(r"<!-- ([\w ]+) -->\n<!-- /\1 -->", page), "a question without an answer"
