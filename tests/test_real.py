"""`make real` itself, on tiny models: each part runs, and the one page has the pictures in it."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("real.py")


def run(folder: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, str(SCRIPT), "--out", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, (folder / "report.html").read_text("utf-8")


@pytest.mark.slow  # seven commands, each of which loads its libraries
def test_one_report_has_it_all(tmp_path: Path) -> None:
    code, page = run(tmp_path, "--tiny", "--family", "sd1")
    assert code == 0, page
    assert "everything as it should be" in page
    assert "lowest cosine with open_clip" in page
    assert page.count("data:image/jpeg;base64,") == 3  # no taste, a taste, a sweep


def test_what_fails_is_in_the_report_and_the_rest_goes_on(tmp_path: Path) -> None:
    code, page = run(tmp_path, "--family", "sd1", "--model", f"sd1={tmp_path}/nowhere.safetensors")
    assert code == 1
    assert "failed: sd1: text encoders, sd1: pictures" in page
    assert "there is no such file" in page
