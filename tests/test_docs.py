"""The examples of `docs/api.md` run in their order, as a stranger runs them, offline, in a new folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def script(text: str) -> str:
    """A page's python blocks as one program, each line where it stands on the page: tracebacks name it."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block[1] == "python":
            first = text.count("\n", 0, block.start(2))
            for number, line in enumerate(block[2].splitlines(), first):
                lines[number] = line
    return "\n".join(lines)


def test_blocks_keep_their_lines() -> None:
    page = "text\n```python\na = 1\n```\n```\nno code\n```\n```python\nb = 2\n```\n"
    assert script(page).splitlines()[:9] == ["", "", "a = 1", "", "", "", "", "", "b = 2"]


def test_the_examples_run(tmp_path: Path) -> None:
    program = tmp_path / "api.md.py"
    program.write_text(script(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    folder = tmp_path / "here"
    folder.mkdir()
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
