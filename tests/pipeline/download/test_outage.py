"""What the network and the machine did is not recorded of the pictures."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import downloads
import hostile
import pytest
import vanishing

from visunex.images.validate import Limits
from visunex.net.fetcher import FetchSettings
from visunex.pipeline.download.messages import MakerSettings
from visunex.pipeline.download.stage import download
from visunex.pipeline.download.worker import fewer_threads, within_open_files
from visunex.pipeline.errors import DownloadError, FewerImagesError, StaleRunError
from visunex.pipeline.workers.spawn import module_command

LINKS = 400


def when_served(
    server: vanishing.VanishingServer, count: int, *, gone_for: float | None, silent: bool = False
) -> None:
    """Have the server go in the middle: once it has served `count` pictures, for seconds or for good."""

    def watch() -> None:
        while server.served < count:
            time.sleep(0.005)
        (server.fall_silent if silent else server.go)()
        if gone_for is not None:
            time.sleep(gone_for)
            (server.wake if silent else server.come)()

    threading.Thread(target=watch, daemon=True).start()


def run_of(path: Path, server: Any, count: int = LINKS, **settings: Any) -> tuple[Any, Any]:
    urls = [f"{server.base}/{number}.jpg" for number in range(count)]
    return downloads.ready_run(path, urls, count, **{"shard_size": 100, "processes": 2, **settings})


@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_is_gone_for_a_moment_costs_no_picture(
    silent: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses connections, or takes them and never answers; there its links have half a second each."""
    monkeypatch.setattr("visunex.base.progress._LOG_SECONDS", 0.2)
    with vanishing.vanishing() as server:
        run, recipe = run_of(tmp_path / "run", server, **({"deadline": 0.5} if silent else {}))
        when_served(server, LINKS // 3, gone_for=9.0 if silent else 2.5, silent=silent)
        report = download(run, recipe)
    assert report.chosen == LINKS
    assert report.status_counts == {"chosen": LINKS}
    assert "waiting for the network" in capfd.readouterr().err


def test_a_server_that_is_gone_for_good_ends_it_and_the_next_run_completes(tmp_path: Path) -> None:
    with vanishing.vanishing() as server:
        run, recipe = run_of(tmp_path / "run", server, patience=1.0)
        when_served(server, LINKS // 3, gone_for=None)
        with pytest.raises(DownloadError, match=r"nothing has answered for 1 s \(--patience\)") as raised:
            download(run, recipe)
        assert "What is done is kept" in str(raised.value)
        kept = len(downloads.pictures(run))
        assert kept >= LINKS // 3 - 40, "what was had before is lost"
        with pytest.raises(DownloadError, match="nothing has answered"):
            download(run, recipe)  # still gone
        server.come()
        before = server.served
        report = download(run, recipe)
        assert report.status_counts == {"chosen": LINKS}
        assert server.served - before <= LINKS - kept + 5, "pictures that were had are fetched again"


def status_of(path: Path, urls: list[str], **settings: Any) -> Counter[str]:
    run, recipe = downloads.ready_run(path, urls, 4, **settings)
    try:
        return Counter(download(run, recipe).status_counts)
    except FewerImagesError:
        return Counter(row["error_class"] for row in downloads.rows(run))


def test_what_a_setting_forbade_is_tried_again_once_it_is_permitted(tmp_path: Path) -> None:
    """One link each for the limit on addresses, bytes, sizes and shapes; `--retry-failed` is not needed."""
    with hostile.hostile() as server:
        urls = [f"{server.base}/good/1.jpg"]
        for tight, kind, loose in (
            ({"allow_private": False}, "private_address", {"allow_private": True}),
            ({"max_bytes": 100}, "too_large", {}),
            ({"min_image_size": 4000}, "too_small", {"min_image_size": 1}),
            ({"max_pixels": 10}, "too_many_pixels", {}),
        ):
            path = tmp_path / kind
            assert status_of(path, urls, **tight) == {kind: 1}
            assert status_of(path, urls, **tight) == {kind: 1}
            assert status_of(path, urls, **loose) == {"chosen": 1}
            if "allow_private" not in tight:
                with pytest.raises(StaleRunError):  # what is there is not within the tighter limits
                    status_of(path, urls, **tight)


def test_a_certificate_that_is_missing_here_is_not_held_against_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile.hostile(tls=True) as server:
        urls = [f"{server.base.replace('127.0.0.1', 'localhost')}/good/1.jpg"]
        assert status_of(tmp_path / "run", urls) == {"tls_certificate": 1}
        monkeypatch.setenv("SSL_CERT_FILE", str(hostile.CERTIFICATE))
        assert status_of(tmp_path / "run", urls) == {"chosen": 1}


def test_threads_are_bounded_by_the_open_files() -> None:
    settings = MakerSettings(Path(), (), 10, 250, FetchSettings(connections=250), Limits())
    bounded = within_open_files(settings, 256)
    assert (bounded.threads, bounded.fetch.connections) == (64, 1)
    assert within_open_files(settings, 65_536) == settings
    said = "each process fetches 64 pictures at a time, not 250: this machine allows it 256 open files"
    assert said in fewer_threads(settings, 256)
    assert fewer_threads(settings, 65_536) == ""
    assert within_open_files(settings, 20).threads == 1


def test_few_open_files_cost_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit cannot be raised here, and there are many more threads than it suffices for."""

    def limited(module: str) -> tuple[str, ...]:
        limit = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (110, 110))"
        return (
            *module_command(module)[:-2],
            "-c",
            f"{limit}; runpy.run_module({module!r}, run_name='__main__')",
        )

    monkeypatch.setattr("visunex.pipeline.workers.executor.module_command", limited)
    with vanishing.vanishing() as server:
        run, recipe = run_of(tmp_path / "run", server, 200, threads=250)
        assert download(run, recipe).status_counts == {"chosen": 200}
