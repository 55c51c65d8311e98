"""What the machine does to a command's standard streams, its locale and its home does not end its work."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def visunex(
    *args: object, redirect: str = "", program: str = "pipeline", **env: str
) -> "subprocess.CompletedProcess[str]":
    """A command run by a shell, so that descriptors can be closed; variables set to "" are unset."""
    given = {**os.environ, **env}
    line = f'exec "$0" -m visunex.{program} "$@" {redirect}'
    return subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, *map(str, args)],
        env={name: value for name, value in given.items() if value},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    rows = {"url": ["http://a/1", "http://a/2"], "caption": ["花 garden", "castle"], "score": [6.0, 7.0]}
    pl.DataFrame(rows).write_parquet(tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-", ">&- 2>&- <&-"])
def test_the_work_is_done_whatever_becomes_of_its_messages(
    redirect: str, metadata: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert (
        visunex("filter", metadata, "--keywords", "garden", "--run", run, redirect=redirect).returncode == 0
    )
    assert pl.read_parquet(run / "selected.parquet").height == 1
    assert (run / "report.json").stat().st_size


@pytest.mark.parametrize("args", [("--help",), ("recipes", "list"), ("recipes", "list", "--json")])
def test_a_result_that_cannot_be_written_is_said(args: tuple[str, ...]) -> None:
    done = visunex(*args, redirect=">/dev/full")
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_a_run_means_the_same_in_every_locale(metadata: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\n[filter]\nkeywords = ["花"]\n', encoding="utf-8")
    args = ("filter", metadata, "--recipe", recipe, "--run", tmp_path / "run")
    for env in (ASCII, ASCII, {"LC_ALL": "C.UTF-8"}):
        done = visunex(*args, **env)
        assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "run" / "selected.parquet")["caption"].to_list() == ["花 garden"]


def test_what_the_locale_cannot_show_is_escaped(tmp_path: Path) -> None:
    pl.DataFrame({"url": ["http://a/1"], "花": ["a garden"]}).write_parquet(tmp_path / "m.parquet")
    args = ("filter", tmp_path / "m.parquet", "--keywords", "garden", "--run", tmp_path / "run")
    done = visunex(*args, **ASCII)
    assert (done.returncode, "--caption-column" in done.stderr) == (1, True), done.stderr


NOBODY = 54321  # a user id that has no entry in the table of users


def test_a_user_without_a_home_can_do_what_needs_none(metadata: Path, tmp_path: Path) -> None:
    program = (
        f"import os, sys; os.environ.pop('HOME', None); os.environ.pop('XDG_CACHE_HOME', None)\n"
        f"os.getuid = lambda: {NOBODY}\nfrom visunex.pipeline.cli import main\nmain()"
    )

    def as_nobody(*args: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program, *map(str, args)]
        return subprocess.run(command, capture_output=True, encoding="utf-8", cwd="/")

    assert as_nobody("recipes", "list").returncode == 0
    listed = as_nobody("embeddings", "list")
    assert (listed.returncode, "fantasy" in listed.stdout) == (0, True), listed.stderr
    unknown = as_nobody("filter", "~nobodyx/m.parquet", "--run", "/tmp/none")
    assert unknown.returncode == 2
    assert "home folder" in unknown.stderr


def test_the_cache_without_a_home_names_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from visunex.base import folders
    from visunex.base.errors import VisunexError

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(VisunexError, match="HOME, or XDG_CACHE_HOME"):
        folders.cache_folder("embeddings")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert folders.cache_folder("embeddings") == Path("/elsewhere/visunex/embeddings")
