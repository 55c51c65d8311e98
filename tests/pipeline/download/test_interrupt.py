"""Ctrl-C, kill -9 and disks that fail: what is done is kept, and going on ends as if nothing had happened."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import downloads
import hostile
import pytest
from click.testing import CliRunner

from visunex.base.files import write_text
from visunex.pipeline.cli import main
from visunex.pipeline.download.stage import download
from visunex.pipeline.rundir import RunDir
from visunex.recipes import dumps

ROWS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[hostile.HostileServer]:
    with hostile.hostile(shuffle=0.4) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(server: hostile.HostileServer, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = ready(tmp_path_factory.mktemp("runs") / "undisturbed", server)
    _, recipe = downloads.ready_run(run.path, urls(server), ROWS, threads=4)
    download(run, recipe)
    return run


def urls(server: hostile.HostileServer) -> list[str]:
    names = ["good", "good-png", "404", "good"]
    return [f"{server.base}/{names[number % 4]}/i{number}.jpg" for number in range(ROWS)]


def ready(path: Path, server: hostile.HostileServer) -> RunDir:
    run, recipe = downloads.ready_run(path, urls(server), ROWS, threads=4, processes=2)
    write_text(run.recipe, dumps(recipe))
    return run


def start(run: RunDir, **settings: object) -> "subprocess.Popen[str]":
    """`visunex-data download` in a process group of its own, as a shell starts it."""
    command = [sys.executable, "-m", "visunex.pipeline", "download", "--run", str(run.path)]
    return subprocess.Popen(  # type: ignore[call-overload]
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0, **settings
    )


def finish(run: RunDir) -> None:
    """`visunex-data download` once more, in this process."""
    done = CliRunner().invoke(main, ["download", "--run", str(run.path)], prog_name="visunex-data")
    assert done.exit_code == 0, done.output


def until_made(run: RunDir, shards: int) -> None:
    """Wait until so many shards are made and another is being made."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        made = len(list(run.shards.glob("*_stats.json")))
        if made >= shards and any(run.shards.glob("_tmp/*/*.tar")):
            return
        time.sleep(0.02)
    raise AssertionError("nothing happens")


def workers_of(run: RunDir) -> set[str]:
    """Processes that have a file of the run open, by what the kernel says."""
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(run.path) in str(descriptor.readlink()):
                found.add(descriptor.parts[2])
        except OSError:
            continue
    return found - {str(os.getpid())}


def gone(run: RunDir, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while workers_of(run) and time.monotonic() < ends:
        time.sleep(0.05)
    return not workers_of(run)


def test_ctrl_c_ends_in_time_and_going_on_ends_the_same(
    server: hostile.HostileServer, undisturbed: RunDir, tmp_path: Path
) -> None:
    run = ready(tmp_path, server)
    process = start(run)
    until_made(run, 1)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert "Interrupted. What is done is kept" in errors
    assert "Traceback" not in errors
    assert gone(run, 1)
    assert not (run.shards / "_tmp").exists()
    kept, made = downloads.fingerprints(run), list(run.shards.glob("*_stats.json"))
    assert made
    server.visits.clear()
    finish(run)
    assert kept.items() <= downloads.fingerprints(run).items()
    assert len(server.visits) <= ROWS - 10 * len(made)
    assert downloads.fingerprints(run) == downloads.fingerprints(undisturbed)


@pytest.mark.parametrize("shards", [0, 2])
def test_kill_9_loses_at_most_the_shards_in_flight(
    server: hostile.HostileServer, undisturbed: RunDir, tmp_path: Path, shards: int
) -> None:
    run = ready(tmp_path, server)
    process = start(run)
    until_made(run, shards)
    process.kill()
    process.communicate(timeout=30)
    assert gone(run, 3), "workers outlive the command"
    kept = {path.name for path in run.shards.glob("*_stats.json")}
    server.visits.clear()
    finish(run)
    visited = {int(path.split("/i")[1].removesuffix(".jpg")) // 10 for path in server.visits}
    assert visited == set(range(6)) - {int(name[:5]) for name in kept}
    assert downloads.fingerprints(run) == downloads.fingerprints(undisturbed)
    assert downloads.chosen(run) == downloads.chosen(undisturbed)
    assert not (run.shards / "_tmp").exists()


def test_a_second_process_is_told_who_is_at_work(server: hostile.HostileServer, tmp_path: Path) -> None:
    run = ready(tmp_path, server)
    first = start(run)
    until_made(run, 0)
    second = start(run)
    _, errors = second.communicate(timeout=30)
    assert (second.returncode, f"is in use by process {first.pid}" in errors) == (1, True)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()


def test_a_full_disk_is_a_sentence_and_no_loss(
    server: hostile.HostileServer, undisturbed: RunDir, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: writing fails in the workers."""
    run = ready(tmp_path, server)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))

    # Coverage would meet the limit too, and say so on stderr.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = start(run, preexec_fn=limit, env=environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Error: the shards cannot be made: File too large" in errors
    assert "Traceback" not in errors
    assert not list(run.shards.glob("*.tar"))
    finish(run)
    assert downloads.fingerprints(run) == downloads.fingerprints(undisturbed)


def test_a_run_folder_that_goes_away_is_a_sentence(server: hostile.HostileServer, tmp_path: Path) -> None:
    run = ready(tmp_path / "run", server)
    process = start(run)
    until_made(run, 1)
    shutil.rmtree(run.path, ignore_errors=True)
    shutil.rmtree(run.path, ignore_errors=True)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "No such file or directory" in errors or "the shards cannot be made" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_sentence(server: hostile.HostileServer, tmp_path: Path) -> None:
    run = ready(tmp_path, server)
    tmp_path.chmod(0o500)
    process = start(run)
    _, errors = process.communicate(timeout=60)
    tmp_path.chmod(0o700)
    assert process.returncode == 1
    assert "Permission denied" in errors
