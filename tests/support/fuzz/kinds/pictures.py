"""Pictures of every format: judged, decoded, resized; and the texts that programs write into them."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path

import odd
from PIL import Image, PngImagePlugin

from ..loader import Seed, loader

_LARGE = 100_000  # pixels: larger ones only take longer
INFOTEXT = (
    "a castle, (a moat:1.3) [fog]\nNegative prompt: people\n"
    "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, "
    'Seed: 42, Size: 512x768, Model hash: abcdef0123, Model: m, Clip skip: 2, Lora hashes: "a: 1, b: 2", '
    "Aesthetic embedding: flower, Aesthetic steps: 5, Aesthetic LR: 0.0001, Hires upscale: 2, RNG: CPU"
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 8, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
        "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a castle", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "people", "clip": ["4", 1]}},
}  # fmt: skip
NOVELAI = {
    "prompt": "a {castle}", "steps": 28, "height": 512, "width": 512, "scale": 11, "seed": 3, "n_samples": 1,
    "sampler": "k_euler_ancestral", "uc": "people", "noise": 0, "strength": 0.5, "request_type": "Txt2Img",
    "v4_prompt": {"caption": {"base_caption": "a", "char_captions": []}},
}  # fmt: skip
OURS = {
    "prompts": ["a castle", "a moat"], "position": 1, "batch": 0, "versions": {"torch": "2"},
    "negative_prompt": "", "seed": 3, "scheduler": "ddim", "ddim_steps": 20, "ddim_eta": 0.0, "scale": 7.5,
    "height": 512, "width": 512, "n_samples": 2, "fixed_code": False, "rng": "cpu", "prediction": "v",
    "model": "m", "model_fingerprint": "ab", "text_encoder": "model", "precision": "float32",
    "device": "cpu", "lowvram": False,
    "aesthetic_embedding": "e.pt", "aesthetic_sha256": "cd", "aesthetic_steps": 4, "aesthetic_lr": 0.0001,
}  # fmt: skip


def _pictures(_: Path) -> Iterable[Seed]:
    picture = odd.gradient((40, 30))
    for kind in (
        "JPEG",
        "PNG",
        "WEBP",
        "GIF",
        "TIFF",
        "TGA",
        "ICO",
        "BMP",
        "JPEG2000",
        "PPM",
        "DDS",
        "PCX",
        "SGI",
    ):
        yield Seed(f"x.{kind.lower()}", odd.file(picture, kind))
    for kind in ("AVIF", "QOI", "ICNS", "IM", "MPO", "SPIDER", "XBM", "EPS", "PDF"):
        try:
            yield Seed(
                f"x.{kind.lower()}", odd.file(picture.convert("1") if kind == "XBM" else picture, kind)
            )
        except (OSError, KeyError, ValueError):
            continue  # not built in
    for name, data in odd.every_kind().items():
        if len(data) < 50_000:
            yield Seed(name, data)
    for compression in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits", "group4"):
        bilevel = picture.convert("1") if compression == "group4" else picture
        yield Seed(f"{compression}.tif", odd.file(bilevel, "TIFF", compression=compression))


@loader("picture", _pictures)
def _picture(path: Path) -> None:
    from visunex.images.decode import decode
    from visunex.images.dhash import difference_hash
    from visunex.images.resize import Resize, resize
    from visunex.images.validate import Limits, inspect

    data = path.read_bytes()
    header = inspect(data, Limits(max_pixels=_LARGE))
    assert header.width * header.height <= _LARGE
    decode(data, (None, 8)[len(data) % 2])
    difference_hash(data)
    assert resize(data, Resize(16, ("shortest", "longest", "center-crop")[len(data) % 3])).data


def _png(key: str, text: bytes) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(key, text.decode(errors="replace").replace("\0", ""), zip=len(text) % 2 == 0)
    return odd.file(Image.new("RGB", (8, 8)), "PNG", pnginfo=chunks)


def _exif(kind: str, text: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = (
        b"UNICODE\0" + text.decode(errors="replace").encode("utf-16-be", "replace")[:60_000]
    )
    return odd.file(Image.new("RGB", (8, 8)), kind, exif=exif)


def _texts(_: Path) -> Iterable[Seed]:
    info, ours = INFOTEXT.encode(), json.dumps(OURS).encode()
    parts = (
        ("parameters", info, "text"),
        ("prompt", json.dumps(GRAPH).encode(), "json"),
        ("Comment", json.dumps(NOVELAI).encode(), "json"),
        (_our_key(), ours, "json"),
        (_our_key(), ours, "json"),
    )
    for key, data, form in parts:
        yield Seed("x.png", data, functools.partial(_png, key), form)
        yield Seed("x.png", _png(key, data), form="binary")
    for kind in ("JPEG", "WEBP"):
        yield Seed(f"x.{kind.lower()}", info, functools.partial(_exif, kind), "text")
        yield Seed(f"x.{kind.lower()}", _exif(kind, info), form="binary")


def _our_key() -> str:
    from visunex.generate.output.png_text import JSON_KEY

    return JSON_KEY


@loader("--from-image", _texts)
def _from_image(path: Path) -> None:
    import click

    from visunex.generate.again.checks import as_options, check_cost
    from visunex.generate.again.read import read
    from visunex.generate.cli import main

    again = read(path)
    again.said(path)
    context = click.Context(main)
    usual = {"height": 512, "width": 512, "n_samples": 1, "aesthetic_steps": 0}
    options = usual | as_options(context, path, again, ())
    check_cost(path, options, again, ())
