"""The pool of workers: what stalls or dies is done again, and in the end given up with a sentence."""

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import downloads
import hostile
import pytest

from visunex.images.validate import Limits
from visunex.net.fetcher import FetchSettings
from visunex.pipeline.download.candidates import Candidates, load_candidates
from visunex.pipeline.download.messages import MakerSettings, ShardJob, ShardProgress
from visunex.pipeline.download.results import read_shard
from visunex.pipeline.download.worker_pool import WorkerPool
from visunex.pipeline.errors import DownloadError


@pytest.fixture(scope="module")
def server() -> Iterator[hostile.HostileServer]:
    with hostile.hostile() as running:
        yield running


def pool_for(
    path: Path, urls: list[str], patience: float = 60.0, **changes: Any
) -> tuple[WorkerPool, Candidates]:
    run, recipe = downloads.ready_run(path, urls, len(urls))
    candidates = load_candidates(run.selected, recipe.download)
    defaults = {"columns": candidates.columns, "fetch": FetchSettings(deadline=30, allow_private=True)}
    settings = MakerSettings(
        **{"output": path, "shard_size": 10, "threads": 8, "limits": Limits(), **defaults, **changes}
    )

    def prepare(job: ShardJob) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir()
        candidates.write_rows(job.shard, job.folder / "rows.arrow")

    return WorkerPool(settings, 1, prepare, patience), candidates


def test_a_shard_on_which_nothing_moves_is_begun_anew_without_the_rows_that_stall(
    server: hostile.HostileServer, tmp_path: Path
) -> None:
    """Two links hang for longer than the watchdog's patience; a fault in the fetch would look like this."""
    names = ["good", "hang", "good", "404", "hang", "good"]
    urls = [f"{server.base}/{name}/{number}.jpg" for number, name in enumerate(names)]
    pool, _ = pool_for(tmp_path, urls, patience=8.0)
    heard: list[ShardProgress] = []
    with pool:
        pool.run([ShardJob(0, tmp_path / "work")], heard.append)
    kinds = [result.error_kind for result in read_shard(tmp_path, 0)]
    assert kinds == [None, "stalled", None, "http_404", "stalled", None]
    assert (heard[-1].attempted, heard[-1].succeeded) == (6, 3)
    assert heard[-1].failures == {"stalled": 2, "http_404": 1}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Links named `gated` are answered when this is set."""
    opened = threading.Event()

    def gated(connection: socket.socket, request: hostile.Request) -> None:
        opened.wait(30)
        connection.sendall(hostile.response(hostile.picture(request.path)))

    monkeypatch.setitem(hostile.BEHAVIOURS, "gated", gated)
    return opened


def downloaded(path: Path, shards: int) -> list[int]:
    return [sum(result.downloaded for result in read_shard(path, shard)) for shard in range(shards)]


def test_a_slow_link_holds_up_its_own_shard_only(gate: threading.Event, tmp_path: Path) -> None:
    """The shards behind it are made first, with as many links at a time as ever, and each asked for once."""
    finished: dict[int, None] = {}

    def on_progress(progress: ShardProgress) -> None:
        if progress.attempted == 10:
            finished[progress.shard] = None
        if len(finished) == 3:
            gate.set()

    with hostile.hostile() as server:
        urls = [f"{server.base}/{'gated' if number == 3 else 'good'}/{number}.jpg" for number in range(40)]
        pool, _ = pool_for(tmp_path, urls, threads=2)
        with pool:
            pool.run([ShardJob(shard, tmp_path / f"work{shard}") for shard in range(4)], on_progress)
    assert list(finished) == [1, 2, 3, 0]
    assert downloaded(tmp_path, 4) == [10] * 4
    assert set(server.visits.values()) == {1}
    assert server.most_open == 2


def test_a_worker_that_dies_loses_no_shard(
    server: hostile.HostileServer, gate: threading.Event, tmp_path: Path
) -> None:
    """It dies with two shards in work; they are begun again one by one, and nothing in them is to blame."""
    urls = [f"{server.base}/{'gated' if number % 10 == 3 else 'good'}/d{number}.jpg" for number in range(20)]
    pool, _ = pool_for(tmp_path, urls, threads=4)
    killed: list[int] = []

    def on_progress(progress: ShardProgress) -> None:
        if progress.shard == 1 and not killed:
            killed.append(pool._workers[0].process.pid)
            os.kill(killed[0], signal.SIGKILL)
            gate.set()

    with pool:
        pool.run([ShardJob(shard, tmp_path / f"work{shard}") for shard in range(2)], on_progress)
        assert pool._workers[0].process.pid not in killed
    assert downloaded(tmp_path, 2) == [10, 10]


def test_a_shard_that_cannot_be_made_is_given_up(server: hostile.HostileServer, tmp_path: Path) -> None:
    pool, _ = pool_for(tmp_path, [f"{server.base}/good/a.jpg"], columns=("caption",))
    with pytest.raises(DownloadError, match="shard 0 could not be made in 3 tries"), pool:
        pool.run([ShardJob(0, tmp_path / "work")], lambda _: None)


def test_a_worker_that_cannot_start_says_why(server: hostile.HostileServer, tmp_path: Path) -> None:
    pool, _ = pool_for(tmp_path, [f"{server.base}/good/a.jpg"], fetch=None)
    with pytest.raises(DownloadError, match=r"a worker cannot start \(AttributeError: "), pool:
        pool.run([ShardJob(0, tmp_path / "work")], lambda _: None)


def test_workers_are_kept_for_further_rounds(server: hostile.HostileServer, tmp_path: Path) -> None:
    pool, _ = pool_for(tmp_path, [f"{server.base}/good/{number}.jpg" for number in range(20)])
    with pool:
        pool.run([ShardJob(0, tmp_path / "work0")], lambda _: None)
        first = pool._workers[0].process.pid
        pool.run([ShardJob(1, tmp_path / "work1")], lambda _: None)
        assert [worker.process.pid for worker in pool._workers] == [first]
    assert len(read_shard(tmp_path, 1)) == 10
