"""Which file holds a model's weights: in a folder, in the Hub's cache, on the Hub; or what is missing."""

import http.server
import json
import socket
import threading
from pathlib import Path
from typing import Any

import hub_client
import odd
import pytest
from click.testing import CliRunner

from visunex.clip import pretrained
from visunex.clip.errors import ModelError
from visunex.clip.pretrained import locate
from visunex.pipeline.cli import main


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


def test_without_network_and_weights_the_missing_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`visunex-data encode` with an empty home."""
    hub_client.configure(monkeypatch, tmp_path / "hub")
    monkeypatch.chdir(tmp_path)
    Path("p.png").write_bytes(odd.every_kind()["alpha.png"])
    command = ["encode", "--images", "p.png", "--out", "x.pt"]
    done = CliRunner().invoke(main, command, prog_name="visunex-data")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "timm/vit_large_patch14_clip_224.openai/open_clip_model.safetensors" in done.stderr
    assert str(tmp_path / "hub") in done.stderr
    assert "hf download" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hub_that_does_not_answer_is_given_up_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real silent server: it accepts the connection and says nothing."""
    monkeypatch.setattr(pretrained, "ONLINE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub_client.configure(monkeypatch, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ModelError, match="the weights of ViT-L-14 openai are not here") as raised:
            locate("ViT-L-14", "openai")
    assert "no answer within" in str(raised.value)


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as its client asks for; it has only the second of the two files asked for."""

    def answer(self, *, with_body: bool) -> None:
        found = self.path.endswith("/resolve/main/open_clip_pytorch_model.bin") or "/resolve/abc" in self.path
        data = b"weights" if found else b""
        self.send_response(200 if found else 404)
        missing = {"X-Error-Code": "EntryNotFound"}
        headers = {"X-Repo-Commit": "a" * 40, "ETag": '"' + "e" * 64 + '"'} if found else missing
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def log_message(self, *_: Any) -> None:
        pass


def test_weights_are_fetched_from_the_hub_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server, monkeypatch.context() as online:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub_client.configure(online, tmp_path, f"http://127.0.0.1:{server.server_port}")
        assert locate("ViT-L-14", "openai").file.read_bytes() == b"weights"
        server.shutdown()
    hub_client.configure(monkeypatch, tmp_path)
    assert locate("ViT-L-14", "openai").file.read_bytes() == b"weights"
