"""What a user sees while a command works: bars on a terminal, plain lines elsewhere."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from screen import screen

from visunex.base.progress import NoProgress, Progress, human_time
from visunex.base.terminal import fitted

Shown = Callable[[], list[str]]
Terminal = Callable[[int], Shown]


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes stderr a terminal of so many columns; gives what says what is on it."""
    seen = ""

    def lines() -> list[str]:
        nonlocal seen
        seen += capsys.readouterr().err
        return screen(seen)

    def make(columns: int) -> Shown:
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("visunex.base.progress._TERMINAL_SECONDS", 0)
        return lines

    return make


def heads(lines: list[str]) -> list[str]:
    """The lines as far as their counts."""
    return [line.partition("images")[0] + "images" if line else "" for line in lines]


def test_progress_off_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("encode", 4) as progress:
        progress.advance(2, "10 MB")
        assert "2/4 images" in progress.line()
        assert "left" in progress.line()
        assert progress.line().endswith("10 MB")
        progress.update(4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("encode: 4/4 images, ")
    assert "\r" not in captured.err
    assert "\x1b" not in captured.err


def test_two_at_work_have_a_line_each_on_a_terminal(terminal: Terminal) -> None:
    shown = terminal(40)
    with Progress("encode", 9) as second:
        with Progress("download", 9) as first:
            first.update(1)
            assert heads(shown()) == ["download: 1/9 images"]
            second.update(1, "a remark that is longer than the terminal is wide")
            assert sorted(heads(shown())) == ["download: 1/9 images", "encode: 1/9 images"]
            first.update(9)
            second.update(8)
            assert all(len(line) < 40 for line in shown())
        second.update(9)
        assert heads(shown()) == ["download: 9/9 images", "encode: 9/9 images"]
        assert all(len(line) < 40 for line in shown())
    lines = shown()
    assert heads(lines)[:2] == ["download: 9/9 images", "encode: 9/9 images"]
    assert all(len(line) < 40 for line in lines)
    assert " ".join(lines).endswith("a remark that is longer than the terminal is wide ")  # and nothing below


def test_a_bar_shows_how_much_is_done(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(100)
    monkeypatch.setenv("NO_COLOR", "1")
    with Progress("download", 10) as progress:
        progress.update(5, "2 failed")
        (line,) = shown()
        assert re.match(r"download: 5/10 images \u2501{15} {16}\d+\.\d/s, \S+ left, 2 failed$", line)
        progress.update(10)
        assert re.match(r"download: 10/10 images \u2501{30} \d+\.\d/s, 2 failed$", shown()[0])
    assert "\u2501" not in "".join(shown())


@pytest.mark.parametrize("width", [1, 8, 12, 20, 24, 30, 41, 60, 100, 200])
def test_nothing_is_cut_in_the_middle_of_a_word(terminal: Terminal, width: int) -> None:
    shown = terminal(width)
    note = "nine failed, of which seven answered nothing"
    words = {*note.split(), "download:", "1/9", "images", "\u2026", "", "encode:"}
    with Progress("download", 9) as first, Progress("encode", None) as second:
        first.update(1, note)
        second.update(123, note)
        lines = shown()
    assert all(cell_len(line) <= max(1, width - 1) for line in lines)
    told = " ".join(lines).split()
    other = [word for word in told if word not in words and word.rstrip(",") not in words]
    for word in other:  # a bar, a count, a rate, a time
        assert (
            set(word) <= set("\u2501\u2578\u257a")
            or word[0].isdigit()
            or word in ("each,", "each", "left,", "left")
        )


def test_a_line_without_room_for_a_word_is_empty() -> None:
    assert fitted("download everything", 20) == "download everything"
    assert fitted("download everything", 12) == "download \u2026"
    assert fitted("download everything", 5) == ""
    assert (
        fitted("\u5199\u771f \u5199\u771f \u5199\u771f", 11) == "\u5199\u771f \u5199\u771f \u2026"
    )  # two cells each


def test_several_threads_at_work_keep_their_lines_apart(terminal: Terminal) -> None:
    shown = terminal(40)

    def work(name: str) -> None:
        with Progress(name, 30) as progress:
            for _ in range(30):
                progress.advance()

    threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = shown()
    assert sorted(heads(lines[:-1])) == [f"thread {number}: 30/30 images" for number in range(4)]
    assert lines[-1] == ""


def test_what_is_written_meanwhile_stands_above_the_lines(terminal: Terminal) -> None:
    shown = terminal(40)
    with Progress("encode", 2) as progress:
        progress.update(1)
        sys.stderr.write("a warning\n")
        progress.update(2)
        assert shown()[0] == "a warning"
    assert [line.split(",")[0] for line in shown()] == ["a warning", "encode: 2/2 images", ""]


def test_a_failure_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    shown = terminal(40)
    stderr = sys.stderr
    with pytest.raises(ZeroDivisionError), Progress("encode", 2) as progress:
        progress.update(1)
        raise ZeroDivisionError
    assert heads(shown()) == ["encode: 1/2 images", ""]
    assert sys.stderr is stderr


def test_control_characters_never_reach_the_terminal(terminal: Terminal) -> None:
    """`screen` knows no code that clears the screen or sets the title: it would fail."""
    shown = terminal(40)
    evil = "\x1b[2J\x1b]0;title\x07\x9b31m\r\n\u202e"
    with Progress(f"fetch {evil}", 2, f"files {evil}") as progress:
        progress.update(1, f"from {evil}")
        shown()
        progress.update(2)
    assert "title" in " ".join(shown())


def test_a_terminal_that_cannot_be_drawn_over_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(40)
    monkeypatch.setenv("TERM", "dumb")
    with Progress("encode", 3) as progress:
        progress.update(3)
    (line, last) = shown()
    assert (line.split(",")[0], last) == ("encode: 3/3 images", "")


def test_nothing_to_do_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("encode", 0):
        pass
    assert capsys.readouterr().err == ""


def test_what_is_over_at_once_is_broken_between_words(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(20)
    monkeypatch.setattr("visunex.base.progress._TERMINAL_SECONDS", 60)
    monkeypatch.delitem(sys.modules, "visunex.base.terminal")
    with Progress("encode", 3) as progress:
        progress.advance(3, "one failed, of which nothing is known")
    assert "visunex.base.terminal" not in sys.modules
    lines = shown()
    assert lines[0] == "encode: 3/3 images,"
    assert " ".join(lines).split()[-7:] == ["one", "failed,", "of", "which", "nothing", "is", "known"]
    assert all(len(line) < 20 for line in lines)


def test_nothing_to_do_is_no_line_on_a_terminal(terminal: Terminal) -> None:
    shown = terminal(40)
    with Progress("encode", 0):
        pass
    assert shown() == [""]


def test_progress_without_a_total_has_no_eta() -> None:
    progress = Progress("filter", None, "rows")
    progress.advance(10)
    assert progress.line().startswith("filter: 10 rows, ")
    assert "left" not in progress.line()


def test_what_is_skipped_is_not_expected_any_more() -> None:
    progress = Progress("encode", 9)
    progress.skip(4)
    progress.advance(5)
    assert (progress.done, progress.total) == (5, 5)
    nobody = NoProgress()
    nobody.advance()
    nobody.skip(1)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (200, "3m20s"), (7500, "2h05m")])
def test_human_time(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


def test_rich_loads_only_for_a_terminal_and_something_to_draw() -> None:
    program = (
        "import sys, visunex.base.progress as progress, visunex.base.console\n"
        "with progress.Progress('a', 2) as p: p.advance(2)\n"
        "p = progress.Progress('b', 2); p._every = 0; p.advance(1)\n"
        "print('rich' in sys.modules)\n"
        "sys.stderr.isatty = lambda: True\n"
        "with progress.Progress('c', 2) as p: p.advance(2)\n"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert len(done.stderr.splitlines()) == 3
