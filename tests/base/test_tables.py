"""Lists on a terminal are laid out for its width; elsewhere they are the plain columns that scripts read."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from screen import screen

from visunex import recipes
from visunex.base.terminal import print_table

COLUMNS = ("name", "about")
ROWS = (("fantasy", "The best-rated pictures whose caption contains fantasy."), ("improved_6.5plus", "V2"))


def printed(
    width: int, columns: tuple[str, ...] = COLUMNS, rows: tuple[tuple[str, ...], ...] = ROWS
) -> list[str]:
    file = io.StringIO()
    print_table(columns, rows, Console(file=file, width=width, force_terminal=True, color_system=None))
    return screen(file.getvalue())[:-1]


def test_columns_stand_beside_each_other_where_there_is_room() -> None:
    head, *lines = printed(60)
    assert re.split(r"\s{2,}", head.strip()) == ["name", "about"]
    assert lines[0].startswith("fantasy           The best-rated pictures")
    assert lines[1].startswith(" " * 18)
    assert lines[-1].split() == ["improved_6.5plus", "V2"]


@pytest.mark.parametrize("width", [18, 25, 30, 41, 42, 43, 60, 200])
def test_no_word_is_cut_at_any_width(width: int) -> None:
    lines = printed(width)
    words = {word for row in (*ROWS, COLUMNS) for cell in row for word in cell.split()}
    assert {word for line in lines for word in line.split()} <= words
    assert {word for row in ROWS for cell in row for word in cell.split()} <= set(" ".join(lines).split())
    assert all(cell_len(line) <= width for line in lines)


def test_what_strangers_wrote_moves_no_cursor_and_is_no_markup() -> None:
    """`screen` fails at a code it does not know."""
    evil = "\x1b[2J[bold]x[/bold]\x9b3A"
    for width in (10, 100):
        assert "[bold]x[/bold]" in "".join(printed(width, COLUMNS, ((evil, evil),)))


def on_terminal(width: int, *arguments: str, cwd: Path) -> list[str]:
    """What `visunex-data` shows on a terminal of that width."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm"}
    command = [sys.executable, "-m", "visunex.pipeline", *arguments]
    process = subprocess.Popen(command, stdout=slave, stderr=slave, cwd=cwd, env=environment)
    os.close(slave)
    seen = b""
    while chunk := _read(master):
        seen += chunk
    assert process.wait() == 0, seen
    return screen(seen.decode())


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize(
    ("arguments", "head"),
    [
        (("recipes", "list"), ["recipe", "description"]),
        (("sources", "list"), ["source", "rows", "scores", "pictures", "vectors", "licence"]),
        (("embeddings", "list"), ["embedding", "kind", "description", "file"]),
    ],
)
def test_lists_are_tables_on_a_terminal(arguments: tuple[str, ...], head: list[str], tmp_path: Path) -> None:
    lines = on_terminal(110, *arguments, cwd=tmp_path)
    assert lines[0].split() == head
    assert all(cell_len(line) <= 110 for line in lines)
    if arguments == ("sources", "list"):
        wide = on_terminal(160, *arguments, cwd=tmp_path)
        assert wide[0].split() == [*head, "about"]
        usual = " ".join(" ".join(on_terminal(80, *arguments, cwd=tmp_path)).split())
        assert (
            "PD3M rows 3,300,000, scores -, pictures links, vectors yes, licence cdla-permissive-2.0" in usual
        )
    narrow = on_terminal(40, *arguments, cwd=tmp_path)
    assert all(cell_len(line) <= 40 for line in narrow)
    if arguments == ("recipes", "list"):
        assert [line.split()[0] for line in lines if line and line[0] != " "][1:] == recipes.names()
