import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hub_client
import pytest
import torch
from safetensors.torch import load_file, save_file

from visunex.generate.errors import CheckpointError
from visunex.generate.families.sd1.text_encoder import FILE, REPOSITORY, TENSOR, text_projection

REVISION = "32bd64288804d66eefd0ccbe215aa642df71cc41"


@pytest.fixture
def weights(tmp_path) -> Path:
    """A file laid out as CLIP-L's, with much before and after the projection."""
    path = tmp_path / "clip.safetensors"
    projection = torch.randn(768, 768, generator=torch.Generator().manual_seed(0))
    save_file({"logit_scale": torch.ones(1), TENSOR: projection, "a.table": torch.zeros(2000, 768)}, path)
    return path


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as its client asks for: what a repository holds, and a file's bytes by range."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(with_body=True)

    def answer(self, with_body):
        data: bytes = self.server.data
        entry = {"type": "file", "path": FILE, "size": len(data), "oid": "a" * 40}
        if "/resolve/" in self.path:
            start, end = 0, len(data) - 1
            if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start, end = int(found[1]), min(end, int(found[2] or end))
            if with_body:
                self.server.sent += end + 1 - start
            body, status = data[start : end + 1], 206 if "Range" in self.headers else 200
        elif "/paths-info/" in self.path or "/tree/" in self.path:
            body, status = json.dumps([entry]).encode(), 200
        else:
            body, status = json.dumps({"id": REPOSITORY, "sha": REVISION, "siblings": []}).encode(), 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"a"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(weights):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.data, server.sent = weights.read_bytes(), 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """An empty home, for the Hub's client and for us, on a machine without a network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    hub_client.configure(monkeypatch, tmp_path / "hf")
    return tmp_path


def total(path: Path) -> float:
    return load_file(path)[TENSOR].double().sum().item()


def test_only_the_projections_bytes_are_fetched_and_they_are_kept(offline, monkeypatch, weights, hub):
    with monkeypatch.context() as online:
        hub_client.configure(online, offline / "hf", f"http://127.0.0.1:{hub.server_address[1]}")
        assert text_projection(768).double().sum().item() == total(weights)
    assert 768 * 768 * 4 <= hub.sent < len(hub.data) * 0.7
    assert text_projection(768).double().sum().item() == total(weights)


def cached(tmp_path: Path, repository: str, file: str) -> Path:
    """Where the Hub's client keeps a file."""
    folder = tmp_path / "hf" / "hub" / ("models--" + repository.replace("/", "--"))
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    path = folder / "snapshots" / REVISION / file
    path.parent.mkdir(parents=True)
    return path


def test_a_copy_of_clip_on_this_machine_is_used(offline, weights):
    cached(offline, REPOSITORY, FILE).write_bytes(weights.read_bytes())
    assert text_projection(768).double().sum().item() == total(weights)


def test_open_clips_copy_is_used_the_right_way_round(offline):
    path = cached(offline, "timm/vit_large_patch14_clip_224.openai", "open_clip_model.safetensors")
    theirs = torch.zeros(768, 768)
    theirs[0, 1] = 1.0
    save_file({"text_projection": theirs}, path)
    assert text_projection(768).nonzero().tolist() == [[1, 0]]


def test_without_a_copy_or_a_network_it_says_what_to_do(offline):
    with pytest.raises(CheckpointError) as raised:
        text_projection(768)
    assert "is not on this machine and cannot be fetched (HF_HUB_OFFLINE is set)" in str(raised.value)
    assert f"hf download {REPOSITORY} {FILE}" in str(raised.value)


def test_a_tower_of_another_size_is_told_so():
    with pytest.raises(CheckpointError, match="1024 wide and brings no text projection"):
        text_projection(1024)
