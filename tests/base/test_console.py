"""What a user sees when a command ends: its report, or why it failed."""

import errno
import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from visunex.base.console import Command, show
from visunex.base.errors import FewerImagesError, UsageError
from visunex.base.text import printable, shortened


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


def test_control_characters_from_outside_never_reach_the_terminal() -> None:
    evil = "a\x1b[2J\x9b31m\rb\u202ec\ud800\tkept\n\x7f"

    @click.command(cls=Command)
    def command() -> None:
        show({"caption": evil}, evil)
        raise UsageError(evil)

    clean = "a\ufffd[2J\ufffd31m\ufffdb\ufffdc\ufffd\tkept\n\ufffd"
    result = CliRunner().invoke(command)
    assert result.stdout == f"{clean}\n"
    assert result.stderr == f"Error: {clean}\n"
    raw = CliRunner().invoke(command, ["--json"]).stdout
    assert json.loads(raw) == {"caption": evil}  # as it was, but written as escapes
    assert printable(raw) == raw


def test_windows_line_ends_are_line_ends() -> None:
    assert printable("a\r\nb\rc") == "a\nb\ufffdc"


def test_windows_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from visunex.pipeline.cli import main

    monkeypatch.setattr("visunex.base.console.WINDOWS", True)
    with pytest.raises(SystemExit, match="runs on Linux and macOS"):
        main(["--help"])


def test_a_long_text_is_shortened_to_so_many_characters() -> None:
    assert [shortened("abcdef", longest) for longest in (7, 6, 5, 1)] == ["abcdef", "abcdef", "abcd…", "…"]


@pytest.mark.parametrize("place", ["s3://bucket/x", "gs://bucket/x.csv"])
def test_an_address_where_a_path_is_meant_is_refused_by_name(place: str) -> None:
    @click.command(cls=Command)
    @click.option("--copy", type=click.Path(path_type=Path, exists=True))
    @click.option("--read")
    def command(copy: Path | None, read: str | None) -> None:
        Path(str(read)).read_text()

    refused = CliRunner().invoke(command, ["--copy", place])
    assert refused.exit_code == 2
    assert f"{place} is an address, and this takes a path of this machine" in refused.stderr
    read = CliRunner().invoke(command, ["--read", place])
    assert read.stderr.startswith(f"Error: No such file or directory: {place}\nOnly what is on this machine")
