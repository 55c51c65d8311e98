"""Published embeddings by name: from a folder, from a real server, checked, cached; found again by name."""

import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from visunex.aesthetic_embeddings import (
    EmbeddingError,
    catalogue,
    fetch,
    fetching,
    find,
    findable,
    save,
)
from visunex.aesthetic_embeddings.fetching import mirror_given, mirrored


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISUNEX_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "visunex" / "embeddings"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and at /drip/, /flood/ and /teapot/ what a bad server does."""

    def do_GET(self) -> None:
        if self.path.startswith(("/drip", "/flood")):
            self.send_response(200)
            self.end_headers()
            chunk, pause = (b"x", 0.02) if self.path.startswith("/drip") else (bytes(100_000), 0.0)
            try:
                for _ in range(200):
                    self.wfile.write(chunk)
                    time.sleep(pause)
            except OSError:
                return
        elif self.path.startswith("/teapot"):
            self.send_error(418, "teapot")
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir(exist_ok=True)
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_the_catalogue_names_the_eight_with_their_checksums(reference: Path) -> None:
    text = (reference / "README.md").read_text()
    assert len(catalogue()) == 8
    for entry in catalogue().values():
        assert f"{entry.sha256}  ./aesthetic_embeddings/{entry.name}.pt" in text
        assert entry.url.endswith(f"aesthetic_embeddings/{entry.name}.pt")
        assert entry.description


def test_a_folder_serves_as_mirror_and_the_cache_remembers(reference: Path, cache: Path) -> None:
    assert fetch("fantasy", str(reference)).path == cache / "fantasy.pt"
    assert fetch("fantasy").norm == pytest.approx(15.355, abs=1e-3)
    assert fetch("sac_8plus", str(reference / "aesthetic_embeddings")).shape == (768,)


def test_a_damaged_cache_is_brought_again(reference: Path, cache: Path) -> None:
    fetch("fantasy", str(reference))
    (cache / "fantasy.pt").write_bytes(b"damaged")
    assert fetch("fantasy", str(reference)).dimension == 768


def test_a_url_serves_as_mirror(
    reference: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(reference / "aesthetic_embeddings", tmp_path / "served" / "aesthetic_embeddings")
    assert fetch("fantasy", server + "/").dimension == 768
    monkeypatch.setenv("VISUNEX_MIRROR", server)
    assert fetch("glowwave").dimension == 768
    assert find("cloudcore").dimension == 768


def test_another_file_under_the_name_is_refused_and_not_kept(
    tmp_path: Path, server: str, cache: Path
) -> None:
    folder = tmp_path / "served" / "aesthetic_embeddings"
    save(folder / "fantasy.pt", np.ones(768), {})
    for mirror in (server, str(folder)):
        with pytest.raises(EmbeddingError, match="is not the published fantasy: its SHA-256"):
            fetch("fantasy", mirror)
    assert not cache.exists()


def test_a_bad_server_is_named_within_bounds(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TOTAL_SECONDS", 0.3)
    with pytest.raises(EmbeddingError, match="answers 404 File not found"):
        fetch("fantasy", server)
    with pytest.raises(EmbeddingError, match="answers 418"):
        fetch("fantasy", f"{server}/teapot")
    with pytest.raises(EmbeddingError, match="sends more than 1 MB"):
        fetch("fantasy", f"{server}/flood")
    with pytest.raises(EmbeddingError, match="took longer"):
        fetch("fantasy", f"{server}/drip")
    with pytest.raises(EmbeddingError, match=r"cannot be fetched: .*refused.*--mirror"):
        fetch("fantasy", "http://127.0.0.1:9")


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="aivazovsky, cloudcore"):
        fetch("nonsense")
    with pytest.raises(EmbeddingError, match=r"has no aesthetic_embeddings/fantasy.pt"):
        fetch("fantasy", str(tmp_path))
    save(tmp_path / "runs" / "mine" / "embedding.pt", np.ones(4), {})
    with pytest.raises(EmbeddingError, match=r"aivazovsky.*runs here: mine"):
        find("nonsense")


def test_names_files_runs_and_folders_are_found(tmp_path: Path, reference: Path) -> None:
    made = save(tmp_path / "runs" / "mine" / "embedding.pt", np.ones(4), {})
    for word in ("mine", "runs/mine", "runs/mine/embedding.pt", str(made.path)):
        assert find(word).name == "mine"
    with pytest.raises(EmbeddingError, match="embeddings fetch fantasy"):
        find("fantasy")
    assert find("fantasy", str(reference)).name == "fantasy"
    assert find("fantasy").name == "fantasy"
    with pytest.raises(EmbeddingError, match="no embedding called ''"):
        find("")


def test_a_published_name_is_brought_once_from_its_publisher(
    reference: Path, server: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(reference / "aesthetic_embeddings", tmp_path / "served" / "there")
    for name in ("fantasy", "glowwave"):
        entry = replace(catalogue()[name], url=f"{server}/there/fantasy.pt")
        monkeypatch.setitem(catalogue(), name, entry)
    with pytest.raises(EmbeddingError, match=r"fantasy is published but .* HF_HUB_OFFLINE is set; bring it"):
        find("fantasy")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(EmbeddingError, match=r"is not the published glowwave: .*nothing was kept"):
        find("glowwave")
    assert not cache.exists()
    assert find("aesthetic_embeddings/fantasy.pt").path == cache / "fantasy.pt"
    shutil.rmtree(tmp_path / "served")
    assert find("fantasy.pt").dimension == find("fantasy").dimension == 768
    for other in ("elsewhere/fantasy.pt", "fantasy.bin", "fantasy.pt.pt"):
        with pytest.raises(EmbeddingError, match="no embedding called"):
            find(other)
    save(tmp_path / "fantasy.pt", np.ones(4), {})
    assert find("fantasy.pt").dimension == 4


def test_everything_that_can_be_found_is_listed_once(tmp_path: Path, reference: Path) -> None:
    save(tmp_path / "runs" / "mine" / "embedding.pt", np.ones(768), {})
    save(tmp_path / "more" / "other.pt", np.ones(768), {})
    (tmp_path / "more" / "broken.pt").write_text("<html>")
    fetch("fantasy", str(reference))
    assert [each.name for each in findable(folders=(tmp_path / "more",))] == ["fantasy", "mine", "other"]
    assert len(list(findable(str(reference)))) == 9


def test_a_cache_that_cannot_be_written_says_so(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EmbeddingError, match=r"cannot be written.*XDG_CACHE_HOME"):
        fetch("fantasy", str(reference))


def test_a_mirror_holds_for_a_block_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUNEX_MIRROR", "environment")
    with mirrored("block"):
        assert (mirror_given(None), mirror_given("argument")) == ("block", "argument")
        with mirrored(None):
            assert mirror_given(None) == "environment"
    assert mirror_given(None) == "environment"
