"""Which file holds a model's weights: in a folder, in the Hub's cache, on the Hub; or what is missing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import odd
import pytest

from visunex.clip.errors import ModelError
from visunex.clip.pretrained import locate


def folder_with(path: Path, *names: str) -> str:
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"vision_cfg": {}}}))
    for name in names:
        (path / name).write_bytes(b"weights")
    return f"local-dir:{path}"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ["pytorch_model.bin", "open_clip_pytorch_model.bin", "other.safetensors"],
            "open_clip_pytorch_model.bin",
        ),
        (["open_clip_model.safetensors", "open_clip_pytorch_model.bin"], "open_clip_model.safetensors"),
        (["mine.pth", "readme.txt"], "mine.pth"),
    ],
)
def test_the_file_is_the_one_that_open_clip_loads(tmp_path: Path, names: list[str], found: str) -> None:
    from open_clip.factory import _find_checkpoint_in_dir

    model = folder_with(tmp_path, *names)
    assert locate(model, "").file == tmp_path / found == Path(_find_checkpoint_in_dir(tmp_path))


def test_none_and_several_are_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights; put open_clip_model"):
        locate(folder_with(tmp_path), "")
    with pytest.raises(ModelError, match=r"several files of weights \(a.pth, b.bin\); name the right one"):
        locate(folder_with(tmp_path, "a.pth", "b.bin"), "")


@pytest.mark.parametrize("name", ["stranger/text", "xlm-roberta-base", ""])
def test_a_text_encoder_from_elsewhere_is_refused_without_a_question(tmp_path: Path, name: str) -> None:
    described = {"model_cfg": {"vision_cfg": {}, "text_cfg": {"hf_model_name": name}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"weights")
    with pytest.raises(ModelError, match="whose code would be run"):
        locate(f"local-dir:{tmp_path}", "")


@pytest.mark.parametrize(
    ("file", "key", "content"),
    [
        ("open_clip_config.json", "hf_model_name", {"multimodal_cfg": {"hf_model_name": "/some/folder"}}),
        (
            "open_clip_config.json",
            "trust_remote_code",
            {"text_cfg": {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}},
        ),
        ("open_clip_config.json", "timm_model_name", {"vision_cfg": {"timm_model_name": "hf-hub:some/one"}}),
        ("config.json", "auto_map", {"auto_map": {"AutoModel": "code.Model"}}),
        ("tokenizer_config.json", "auto_map", {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}}),
    ],
)
def test_a_folder_that_wants_code_or_models_from_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, key: str, content: dict[str, Any]
) -> None:
    """Nobody is asked whether to run it."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("was asked"))
    model = folder_with(tmp_path, "mine.pth")
    if file == "open_clip_config.json":
        content = {"model_cfg": {"vision_cfg": {}, **content}}
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=rf"{file} names {key}"):
        locate(model, "")
    (tmp_path / file).write_text("[" * 100_000)
    with pytest.raises(ModelError, match=rf"{file}"):
        locate(model, "")


def offline(
    tmp_path: Path, *arguments: str, **settings: str
) -> tuple[subprocess.CompletedProcess[str], float]:
    """`visunex-data encode` in an empty home."""
    picture = tmp_path / "p.png"
    picture.write_bytes(odd.every_kind()["alpha.png"])
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HOME": str(tmp_path), **settings}
    command = [
        sys.executable,
        "-m",
        "visunex.pipeline",
        "encode",
        "--images",
        str(picture),
        "--out",
        "x.pt",
    ]
    started = time.monotonic()
    done = subprocess.run(
        [*command, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    return done, time.monotonic() - started


def test_without_network_and_weights_the_missing_file_is_named(tmp_path: Path) -> None:
    done, _ = offline(tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "timm/vit_large_patch14_clip_224.openai/open_clip_model.safetensors" in done.stderr
    assert str(tmp_path / "hub") in done.stderr
    assert "hf download" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hub_that_does_not_answer_is_given_up_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real silent server: it accepts the connection and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code = (
            "from visunex.clip import pretrained as weights; import time; weights.ONLINE_SECONDS = 2\n"
            "import open_clip; began = time.monotonic()\n"
            "try: weights.locate('ViT-L-14', 'openai')\n"
            "except Exception as error: print(type(error).__name__, time.monotonic() - began < 6, error)"
        )
        environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("ModelError True the weights of ViT-L-14 openai are not here"), done.stderr


HUB = """
import http.server, os, sys, threading

class Hub(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        found = self.path.endswith("/resolve/main/open_clip_pytorch_model.bin") or "/resolve/abc" in self.path
        data = b"weights" if found else b""
        self.send_response(200 if found else 404)
        missing = {"X-Error-Code": "EntryNotFound"}
        headers = {"X-Repo-Commit": "a" * 40, "ETag": '"' + "e" * 64 + '"'} if found else missing
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
from visunex.clip.pretrained import locate
print(locate("ViT-L-14", "openai").file.read_bytes().decode())
os.environ["HF_HUB_OFFLINE"] = "1"
server.shutdown()
print(locate("ViT-L-14", "openai").file.read_bytes().decode())
"""


def test_weights_are_fetched_from_the_hub_once(tmp_path: Path) -> None:
    """A loopback server that speaks the Hub's HTTP and has only the second of the two files asked for."""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", HUB], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["weights", "weights"], done.stderr
