"""Image towers: the same numbers as transformers', weights found or named, precision and device chosen."""

import json
import logging
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pytest
import torch
from numpy.typing import NDArray

from visunex.clip import factory as clip
from visunex.clip import pretrained as weights
from visunex.clip.devices import choose_device, choose_precision
from visunex.clip.factory import load
from visunex.clip.image_encoder import ImageEncoder, resized
from visunex.clip.precision import lower
from visunex.clip.preprocess import Pixels, Preprocessing, Seen, open_rgb
from visunex.pipeline.errors import ModelError


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    wide = [
        rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        for rows in (a, b)
    ]
    return (wide[0] * wide[1]).sum(axis=1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd.small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def large() -> tuple[ImageEncoder, Any]:
    """ViT-L/14 with QuickGELU and random weights: as our encoder, and as transformers' model."""
    import open_clip
    from open_clip.model import _build_vision_tower
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from visunex.demo.tiny import block_names

    torch.manual_seed(0)
    settings = open_clip.get_model_config("ViT-L-14")
    tower = _build_vision_tower(768, settings["vision_cfg"], quick_gelu=True).eval()
    shape = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    theirs = CLIPVisionModelWithProjection(
        CLIPVisionConfig(**shape, patch_size=14, image_size=224, projection_dim=768, hidden_act="quick_gelu")
    ).eval()
    ours = tower.state_dict()
    inner = "vision_model."
    named = {
        f"{inner}embeddings.class_embedding": ours["class_embedding"],
        f"{inner}embeddings.patch_embedding.weight": ours["conv1.weight"],
        f"{inner}embeddings.position_embedding.weight": ours["positional_embedding"],
        "visual_projection.weight": ours["proj"].T.contiguous(),
    }
    for theirs_name, ours_name in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        for kind in ("weight", "bias"):
            named[f"{inner}{theirs_name}.{kind}"] = ours[f"{ours_name}.{kind}"]
    for name, tensor in ours.items():
        if name.startswith("transformer.resblocks."):
            named |= {f"{inner}encoder.layers.{key}": part for key, part in block_names(name, tensor)}
    theirs.load_state_dict(named)
    encoder = ImageEncoder(
        model="ViT-L-14",
        pretrained="random",
        weights="",
        activation="QuickGELU",
        dimension=768,
        device="cpu",
        precision="fp32",
        preprocessing=Preprocessing(exact=True),
        tower=tower,
    )
    return encoder, theirs


def as_transformers_sees(pixels: Pixels, model: Any) -> NDArray[np.float32]:
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(do_resize=False, do_center_crop=False)
    with torch.inference_mode():
        return model(processor(list(pixels), return_tensors="pt")["pixel_values"]).image_embeds.numpy()


def parity(files: list[bytes], large: tuple[ImageEncoder, Any]) -> NDArray[np.float64]:
    """Our vectors against those of transformers' tower on the pixels of OpenAI's own transform."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    clips_own = Compose([Resize(224, interpolation=InterpolationMode.BICUBIC), CenterCrop(224)])
    encoder, theirs = large
    ours = encoder.encode(np.stack([encoder.preprocessing.pixels(data) for data in files]))
    published = np.stack([np.asarray(clips_own(open_rgb(data))) for data in files])
    return cosines(ours, as_transformers_sees(published, theirs))


def test_paintings_get_the_vectors_that_transformers_gives(
    reference: Path, large: tuple[ImageEncoder, Any]
) -> None:
    paintings = [path.read_bytes() for path in sorted((reference / "aivazovsky").glob("*.jpg"))]
    assert len(paintings) == 3
    assert parity(paintings, large).min() > 0.99999


def test_reduced_scale_gives_nearly_the_same_vectors(large: tuple[ImageEncoder, Any]) -> None:
    """Two photographs differ by twenty times as much and more."""
    exact, fast = large[0].preprocessing, replace(large[0].preprocessing, exact=False)
    files = [odd.file(odd.photograph((1801, 1203), seed), "JPEG", quality=90) for seed in range(2)]
    whole, reduced = (
        large[0].encode(np.stack([how.pixels(data) for data in files])) for how in (exact, fast)
    )
    assert cosines(whole, reduced).min() > 0.9995
    assert 1 - cosines(whole[:1], whole[1:])[0] > 20 * (1 - cosines(whole, reduced).min())


def test_reduced_scale_gives_nearly_the_same_vectors_of_the_trained_tower() -> None:
    exact, fast = (load("visunex-tiny", precision="fp32", exact_decode=flag) for flag in (True, False))
    assert exact.identity() != fast.identity()
    data = [odd.file(odd.photograph((611, 403), seed), "JPEG", quality=90) for seed in range(8)]
    whole, reduced = (
        each.encode(np.stack([each.preprocessing.pixels(one) for one in data])) for each in (exact, fast)
    )
    assert cosines(whole, reduced).min() > 0.9995


SHAPES = [(700, 500), (500, 701), (333, 90), (90, 333), (64, 64), (20, 31), (900, 40), (256, 256)]


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_a_resize_on_the_device_gives_pillows_pixels(device: str, resize: Any) -> None:
    """Nearly: in whole numbers (on the CPU) as in floating point (elsewhere; tried here, too)."""
    how = Preprocessing(size=64, resize=resize, exact=True, on_device=True)
    for seed, shape in enumerate(SHAPES):
        data = odd.file(odd.photograph(shape, seed), "PNG")
        there = resized(how.seen(data), how, device).permute(1, 2, 0).numpy().astype(int)
        difference = np.abs(there - how.pixels(data))
        assert difference.mean() < 0.6  # of 255
        assert np.quantile(difference, 0.99) <= 2


def test_vectors_are_the_same_wherever_pictures_are_resized() -> None:
    host, device = (load("visunex-tiny", precision="fp32", preprocess=way) for way in ("host", "device"))
    assert host.identity() == device.identity()
    data = [odd.file(odd.photograph(shape, seed), "JPEG") for seed, shape in enumerate(SHAPES)]
    there, here = (
        each.vectors(each.stage([each.preprocessing.seen(one) for one in data])) for each in (device, host)
    )
    assert cosines(there, here).min() > 0.9999


def test_pictures_too_large_or_long_for_the_device_are_resized_on_the_host() -> None:
    how = Preprocessing(size=32, on_device=True)
    for shape in ((400, 300), (300, 20), (20, 300)):
        seen = how.seen(odd.file(odd.photograph(shape), "PNG"))
        assert (seen.pixels.shape, seen.resized) == ((32, 32, 3), (32, 32))
    assert how.seen(odd.file(odd.photograph((180, 120)), "PNG")).resized == (48, 32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(odd.every_kind()))
def test_odd_files_get_the_vectors_that_transformers_gives(
    kind: str, large: tuple[ImageEncoder, Any]
) -> None:
    assert parity([odd.every_kind()[kind]], large).min() > 0.99999


def test_normalisation_is_that_of_transformers(small: str) -> None:
    from transformers import CLIPImageProcessor

    encoder = load(small, precision="fp32")
    pixels = encoder.preprocessing.pixels(odd.every_kind()["rotated.jpg"]).copy()[None]
    mean, std = list(encoder.preprocessing.mean), list(encoder.preprocessing.std)
    plain = CLIPImageProcessor(do_resize=False, do_center_crop=False, image_mean=mean, image_std=std)
    theirs = plain(list(pixels), return_tensors="pt")["pixel_values"]
    staged = encoder.stage([Seen(each, (32, 32)) for each in pixels])
    assert torch.allclose(encoder._normalised(staged), theirs, atol=1e-6)


def some_pixels(encoder: ImageEncoder, count: int = 6) -> Pixels:
    size = encoder.preprocessing.size
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)


def test_a_folder_gives_its_tower_and_how_it_wants_pictures(small: str) -> None:
    encoder = load(small, precision="fp32")
    assert (encoder.dimension, encoder.precision, encoder.activation) == (24, "fp32", "QuickGELU")
    expected = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3, on_device=True)
    assert encoder.preprocessing == expected
    vectors = encoder.encode(some_pixels(encoder))
    assert (vectors.shape, vectors.dtype) == ((6, 24), np.float32)
    assert np.isfinite(vectors).all()


def test_vectors_depend_on_the_picture_and_not_on_its_batch(small: str) -> None:
    encoder = load(small, precision="fp32")
    pixels = some_pixels(encoder)
    together = encoder.encode(pixels)
    alone = np.concatenate([encoder.encode(pixels[i : i + 1]) for i in range(len(pixels))])
    assert np.abs(together - alone).max() < 1e-5
    assert cosines(together[:1], together[1:2])[0] < 0.9999


@pytest.mark.parametrize("model", ["small", "visunex-tiny"])
def test_bf16_says_the_same_as_fp32(model: str, small: str) -> None:
    name = small if model == "small" else model
    full, half = load(name, precision="fp32"), load(name, precision="bf16")
    pixels = some_pixels(full)
    assert half.precision == "bf16"
    assert half.identity() == full.identity()
    assert cosines(full.encode(pixels), half.encode(pixels)).min() > 0.999


def test_the_mean_of_many_pictures_is_the_same_in_bf16() -> None:
    """Weights that are rounded err the same way for each picture, so a mean keeps what they err."""
    full, half = load("visunex-tiny", precision="fp32"), load("visunex-tiny", precision="bf16")
    pixels = np.stack([np.asarray(odd.photograph((64, 64), seed)) for seed in range(100)])
    one, other = (encoder.encode(pixels).mean(axis=0, keepdims=True) for encoder in (full, half))
    assert cosines(one, other)[0] > 0.99999


def test_a_tower_with_layer_scales_is_lowered_too() -> None:
    from open_clip.transformer import VisionTransformer

    tower = VisionTransformer(32, 8, 64, 2, 2, 4.0, ls_init_value=0.1, output_dim=24).eval()
    pictures = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        before, after = tower(pictures), lower(tower, torch.bfloat16)(pictures)
    assert after.dtype == torch.float32
    assert cosines(before.numpy(), after.numpy()).min() > 0.999


def test_a_tower_of_an_unknown_kind_is_lowered_whole() -> None:
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LayerNorm(12), torch.nn.Linear(12, 3))
    pictures = torch.rand(2, 3, 2, 2)
    with torch.inference_mode():
        before, after = tower(pictures), lower(tower, torch.bfloat16)(pictures)
    assert after.dtype == torch.bfloat16
    assert torch.allclose(before, after.float(), atol=0.05)


def test_bf16_says_the_same_as_fp32_for_vit_l_14(large: tuple[ImageEncoder, Any], reference: Path) -> None:
    import copy

    encoder, _ = large
    tower = copy.deepcopy(encoder.tower)
    lower(tower, torch.bfloat16)
    painting = next((reference / "aivazovsky").glob("full-moon*.jpg"))
    pixels = encoder.preprocessing.pixels(painting.read_bytes())[None]
    half = replace(encoder, tower=tower, precision="bf16").encode(pixels)
    assert cosines(encoder.encode(pixels), half).min() > 0.999


def test_the_default_model_is_quickgelu(small: str, tmp_path: Path) -> None:
    """OpenAI's tag says so, and what is built follows the tag (here with random weights of a small ViT)."""
    import open_clip

    assert open_clip.get_pretrained_cfg("ViT-L-14", "openai")["quick_gelu"] is True
    model = open_clip.create_model("ViT-S-32-alt", None)
    path = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), path)
    for settings, activation in (({"quick_gelu": True}, "QuickGELU"), ({}, "GELU")):
        tower, preprocessing, dimension, name = clip._build(
            weights.Checkpoint("ViT-S-32-alt", path, settings), "cpu", "fp32"
        )
        assert (name, dimension, preprocessing) == (activation, 256, Preprocessing())
        assert not tower.training


def test_without_a_compiler_the_tower_is_taken_as_it_is(
    small: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    encoder = load(small, precision="fp32", compiled=True)
    assert encoder.encode(some_pixels(encoder)).shape == (6, 24)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_local_checkpoint_is_taken_by_its_path(tmp_path: Path) -> None:
    import open_clip

    path = tmp_path / "mine.pt"
    torch.save({"state_dict": open_clip.create_model("ViT-S-32-alt", None).state_dict()}, path)
    encoder = load("ViT-S-32-alt", str(path), precision="fp32")
    assert (encoder.dimension, encoder.activation) == (256, "GELU")
    with pytest.raises(ModelError, match="another model than ViT-S-16-alt"):
        load("ViT-S-16-alt", str(path))


def test_precision_is_chosen_by_what_the_device_is_good_at() -> None:
    assert choose_precision("fp16", "cpu") == "fp16"
    assert choose_precision("auto", "mps") == "fp32"
    good = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert choose_precision("auto", "cpu") == ("bf16" if good else "fp32")
    assert choose_device("cpu") == "cpu"
    assert choose_device() in {"cpu", "cuda", "mps"}


def test_devices_that_are_not_here_are_named(small: str) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="cuda"):
            load(small, device="cuda")
    with pytest.raises(ModelError, match="no device 'nonsense' here"):
        load(small, device="nonsense")


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
        "visunex.pipeline.cli",
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
            "from visunex.pipeline import weights; import time; weights.ONLINE_SECONDS = 2\n"
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


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_models_that_cannot_be_had_are_named(tmp_path: Path, small: str) -> None:
    with pytest.raises(ModelError, match=r"did you mean .*ViT-L-14"):
        load("ViT-L-13")
    with pytest.raises(ModelError, match=r"no weights 'nonsense'.*published are openai"):
        load("ViT-L-14", "nonsense")
    with pytest.raises(ModelError, match=r"is no open_clip folder: open_clip_config.json"):
        load(f"local-dir:{tmp_path}")
    config = json.loads((Path(small.removeprefix("local-dir:")) / "open_clip_config.json").read_text())
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="has no weights"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError, match="code to be run"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(f"local-dir:{tmp_path}")
    with pytest.raises(ModelError, match=r"metaclip.*--pretrained|not on the Hub"):
        weights._from_address("ViT-L-14", "metaclip_400m", "https://x/l14_400m.pt")


def test_words_lie_near_the_pictures_they_name() -> None:
    from random import Random

    from visunex.demo.scenes import label, random_scene, render

    rng = Random("pictures and their names")
    scenes = [random_scene(rng) for _ in range(20)]
    tower, words = load("visunex-tiny", precision="fp32"), clip.load_text("visunex-tiny")
    pixels = np.stack([tower.preprocessing.square(render(scene)) for scene in scenes])
    vectors = words.encode([label(scene) for scene in scenes])
    assert (vectors.shape, vectors.dtype) == ((20, 768), np.float32)
    right = cosines(tower.encode(pixels), vectors)
    wrong = cosines(tower.encode(pixels), np.roll(vectors, 1, axis=0))
    assert right.mean() > wrong.mean() + 0.1


def test_preprocessing_that_is_not_built_is_refused(tmp_path: Path, small: str) -> None:
    folder = Path(small.removeprefix("local-dir:"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "longest"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "open_clip_model.safetensors").write_bytes(
        (folder / "open_clip_model.safetensors").read_bytes()
    )
    with pytest.raises(ModelError, match="resized by 'longest'"):
        load(f"local-dir:{tmp_path}")


def test_loading_says_nothing_and_leaves_logging_as_it_was(
    small: str, caplog: pytest.LogCaptureFixture
) -> None:
    level = logging.getLogger().level
    load(small)
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]
    assert logging.getLogger().level == level


@pytest.mark.weights
def test_real_weights_give_the_published_embedding_of_the_three_paintings(
    reference: Path, tmp_path: Path
) -> None:
    from visunex.aesthetic_embeddings import Embedding, compare, reduce
    from visunex.aesthetic_embeddings import load as load_embedding

    try:
        encoder = load(precision="fp32")
    except ModelError as error:
        pytest.skip(f"OpenAI's weights are not here (VISUNEX_REAL_WEIGHTS=1 fetches them): {error}")
    paintings = sorted((reference / "aivazovsky").glob("*.jpg"))
    pixels = np.stack([encoder.preprocessing.pixels(path.read_bytes()) for path in paintings])
    made = Embedding("made", reduce([encoder.encode(pixels)], "mean"))
    assert compare(made, load_embedding(reference / "aesthetic_embeddings" / "aivazovsky.pt")) >= 0.999
