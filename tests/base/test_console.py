"""What a user sees when a command fails, and while it works."""

import errno
import json
import os
import re

import click
import pytest
from click.testing import CliRunner

from visunex.base.console import Command, show
from visunex.base.errors import FewerImagesError, UsageError
from visunex.base.progress import Progress, human_time


def command_that_raises(error: BaseException) -> click.Command:
    @click.command(cls=Command)
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UsageError("top must be at least 1"), 2, "Error: top must be at least 1\n"),
        (FewerImagesError("3 of 5 images"), 1, "Error: 3 of 5 images\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.tar"),
            1,
            "Error: No space left on device: a.tar\n",
        ),
        (KeyboardInterrupt(), 130, "kept"),
        (ZeroDivisionError("1/0"), 1, "Error: ZeroDivisionError: 1/0\nThis is a fault in VisuNex"),
        (BrokenPipeError(), 1, ""),
        (click.UsageError("no such thing"), 2, "no such thing"),
    ],
)
def test_errors_are_sentences_with_an_exit_status(error: BaseException, status: int, message: str) -> None:
    result = CliRunner().invoke(command_that_raises(error))
    assert result.exit_code == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_verbose_shows_where() -> None:
    result = CliRunner().invoke(command_that_raises(ZeroDivisionError()), ["-v"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_json_replaces_the_text() -> None:
    @click.command(cls=Command)
    def command() -> None:
        show({"images": 3}, "three images")

    assert CliRunner().invoke(command).stdout == "three images\n"
    assert json.loads(CliRunner().invoke(command, ["--json"]).stdout) == {"images": 3}


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


def screen(written: str) -> list[str]:
    """What a terminal shows of this: it knows line feeds, returns, and the two codes that are used."""
    lines, row = [""], 0
    for text, code in re.findall(r"([^\x1b\r\n]*)(\x1b\[\d*[AK]|\r|\n|$)", written):
        lines[row] += text
        if code == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif code.endswith("A"):
            row -= int(code[2:-1])
        elif code.endswith("K"):
            lines[row] = ""
    return lines


def test_two_at_work_have_a_line_each_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    seen = ""

    def shown() -> list[str]:
        nonlocal seen
        seen += capsys.readouterr().err
        return [line.partition(",")[0] for line in screen(seen)]

    with Progress("encode", 9) as second:
        second._every = 0
        with Progress("download", 9) as first:
            first._every = 0
            first.update(1)
            assert shown() == ["download: 1/9 images"]
            second.update(1, "a remark that is longer than the terminal is wide")
            assert sorted(shown()) == ["download: 1/9 images", "encode: 1/9 images"]
            first.update(9)
            second.update(8)
        second.update(9)
        assert shown() == ["download: 9/9 images", "encode: 9/9 images"]
        assert all(len(line) < 40 for line in screen(seen))
    assert shown() == ["download: 9/9 images", "encode: 9/9 images", ""]


def test_nothing_to_do_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("encode", 0):
        pass
    assert capsys.readouterr().err == ""


def test_progress_without_a_total_has_no_eta() -> None:
    progress = Progress("filter", None, "rows")
    progress.advance(10)
    assert progress.line().startswith("filter: 10 rows, ")
    assert "left" not in progress.line()


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (200, "3m20s"), (7500, "2h05m")])
def test_human_time(seconds: float, text: str) -> None:
    assert human_time(seconds) == text
