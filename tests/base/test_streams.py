"""What the machine does to a command's standard streams, its locale and its home does not end its work."""

import os
import pty
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from screen import screen

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


# Clears the screen, names it, links (OSC 8), writes the clipboard (OSC 52); C1's CSI; overrides of direction.
EVIL = "\x1b[2J\x1b]0;t\x07\x1b]8;;http://x\x1b\\y\x1b]52;c;eA==\x07\x9b31m\r\x08\x7f\u202e\u2066\u061c"


def on_a_terminal(command: Sequence[object], **env: str) -> str:
    """All that a command writes on a terminal of its own."""
    ours, theirs = pty.openpty()
    given = {**os.environ, "TERM": "xterm", "COLUMNS": "300", **env}
    process = subprocess.Popen([*map(str, command)], stdin=theirs, stdout=theirs, stderr=theirs, env=given)
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 65536):
            written += block
    except OSError:  # it has left
        pass
    os.close(ours)
    process.wait()
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("env", [{}, ASCII])
def test_nothing_from_outside_moves_the_cursor_whoever_writes_it(env: dict[str, str]) -> None:
    """`screen` fails for every code but those that rich draws with."""
    program = f"""
        import logging, os, sys, threading, warnings, click
        from visunex.base import progress
        from visunex.base.console import Command, Program, Table, show
        from visunex.base.streams import native_messages_held
        evil, progress._TERMINAL_SECONDS = {EVIL!r}, 0
        class Both(Program, Command): pass
        def told(how):
            logging.getLogger("a.library").error("logged %s" + how, evil)
            warnings.warn("warned " + evil + how)
            click.echo("echoed " + evil + how)
            print("printed", evil + how, file=sys.stderr)
            sys.stderr.write("[red]begun" + evil + how); sys.stderr.flush()
            with native_messages_held():
                os.write(2, ("native " + evil + how + "\\n").encode())
            thread = threading.Thread(target=lambda: 1 / 0, name=evil)
            thread.start(); thread.join()
        @click.command(cls=Both)
        def command():
            told("before")
            with progress.Progress("fetch " + evil, 2) as shown:
                shown.update(1, evil)
                told("while")
                shown.update(2)
            show({{}}, "", Table(("a" + evil, "b"), (("c", evil),)))
            raise ValueError(evil)
        command()
        """
    written = on_a_terminal([sys.executable, "-c", textwrap.dedent(program), "-v"], **env)
    seen = "\n".join(screen(written))
    for each in ("logged", "warned", "echoed", "printed", "[red]begun", "native", "Exception in thread"):
        assert seen.count(each) == 2, (each, seen)
    assert "ValueError: " in seen.splitlines()[-1]
    assert not set("\x07\x08\x7f\x9b\u202e\u2066\u061c") & set(written)


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_names_of_files_and_columns_are_text(verbose: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / f"d{EVIL.replace('/', '')}"
    folder.mkdir()
    pl.DataFrame({f"u{EVIL}": ["http://a/1"]}).write_parquet(folder / f"m{EVIL.replace('/', '')}.parquet")
    command = [sys.executable, "-m", "visunex.pipeline", "filter", folder, *verbose]
    written = on_a_terminal([*command, "--run", tmp_path / "run"])
    assert "\ufffd[2J" in "\n".join(screen(written)), written
    unknown = on_a_terminal([*command[:3], f"fil{EVIL}", *verbose])
    assert "No such command" in "\n".join(screen(unknown))


def test_what_a_server_says_is_text(tmp_path: Path) -> None:
    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(f"HTTP/1.1 500 a{EVIL}\r\nServer: {EVIL}\r\n\r\n".encode())

        do_HEAD = do_GET  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/m.parquet"
        command = [sys.executable, "-m", "visunex.pipeline", "filter", address, "-v", "--run", tmp_path]
        seen = "\n".join(screen(on_a_terminal(command)))
        server.shutdown()
    assert address in seen
    assert "Error" in seen
