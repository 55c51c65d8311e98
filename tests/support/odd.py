"""Pictures of every odd kind, as the bytes of their files, and small models to encode them with."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Left to right red grows, top to bottom green: any turn, flip or wrong colour shows.
SIZE = (96, 64)


def gradient(size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture that looks different from every side."""
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    pixels = np.stack([across, down, np.full_like(across, 60)], axis=2).astype(np.uint8)
    return Image.fromarray(pixels)


def photograph(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A picture with structure at all scales, as photographs have: noise whose power falls as 1/f^2."""
    random = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3), dtype=np.float32)
    for power in range(2, 11):
        coarse = random.normal(0, 1, (2**power * 3 // 4, 2**power, 3)) * 32 + 128
        layer = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        total += (np.asarray(layer, dtype=np.float32) - 128) * (4 / power)
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def file(picture: Image.Image, format_: str, **options: Any) -> bytes:
    """The bytes of a picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    """A JPEG that is stored turned, with the EXIF tag by which it is shown upright."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = gradient().transpose(undo[orientation]) if orientation in undo else gradient()
    return file(stored, "JPEG", quality=98, subsampling=0, exif=exif)


def half_transparent() -> Image.Image:
    """Left half as it is, right half fully transparent (over black, which must not show)."""
    picture = gradient().convert("RGBA")
    picture.paste((0, 0, 0, 0), (SIZE[0] // 2, 0, *SIZE))
    return picture


def animated(format_: str) -> bytes:
    """Two frames; the second is black."""
    return file(gradient(), format_, save_all=True, append_images=[Image.new("RGB", SIZE)], duration=50)


def sixteen_bit() -> Image.Image:
    """A grey ramp over the whole range of 16 bits."""
    return Image.fromarray(np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[::-1]))


def palette_with_transparency() -> bytes:
    """A paletted PNG whose index 0 is transparent."""
    picture = gradient().quantize(16)
    return file(picture, "PNG", transparency=0)


def every_kind() -> dict[str, bytes]:
    """One file of each odd kind that must be encoded."""
    return {
        "cmyk.jpg": file(gradient().convert("CMYK"), "JPEG", quality=95),
        "alpha.png": file(half_transparent(), "PNG"),
        "alpha.webp": file(half_transparent(), "WEBP", lossless=True),
        "grey_alpha.png": file(half_transparent().convert("LA"), "PNG"),
        "palette.gif": file(gradient().quantize(64), "GIF"),
        "palette_transparent.png": palette_with_transparency(),
        "rotated.jpg": turned(6),
        "one_pixel.png": file(gradient((1, 1)), "PNG"),
        "long.png": file(gradient((10000, 10)), "PNG"),
        "tall.png": file(gradient((10, 10000)), "PNG"),
        "huge.jpg": file(Image.new("RGB", (10000, 10000), (200, 30, 90)), "JPEG"),
        "animated.gif": animated("GIF"),
        "animated.png": animated("PNG"),
        "animated.webp": animated("WEBP"),
        "sixteen_bit.png": file(sixteen_bit(), "PNG"),
        "sixteen_bit.tif": file(sixteen_bit(), "TIFF"),
        "bilevel.png": file(gradient().convert("1"), "PNG"),
        "grey.jpg": file(gradient().convert("L"), "JPEG"),
        "progressive.jpg": file(gradient(), "JPEG", progressive=True),
    }


def no_pictures() -> dict[str, tuple[str, bytes]]:
    """Files that give no pixels, by name: the reason they are counted under, and their bytes."""
    jpeg = file(gradient((400, 300)), "JPEG")
    png = file(gradient((400, 300)), "PNG")
    return {
        "empty.jpg": ("empty", b""),
        "page.jpg": ("not_an_image", b"<!doctype html><title>404</title>" + b" " * 500),
        "cut.jpg": ("truncated", jpeg[: len(jpeg) // 2]),
        "cut.png": ("truncated", png[: len(png) // 2]),
        "bomb.png": ("too_many_pixels", bomb()),
    }


def bomb() -> bytes:
    """A PNG of a few hundred bytes whose header announces 50000 x 50000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def small_model(folder: Path, seed: int = 0, dimension: int = 24, size: int = 32, mean: float = 0.5) -> str:
    """A ViT of two layers with random weights in open_clip's folder form; its name for `--model`."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {
        "embed_dim": dimension,
        "quick_gelu": True,
        "vision_cfg": {"image_size": size, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
    }
    preprocess = {"mean": [mean] * 3, "std": [0.25, 0.25, 0.25], "interpolation": "bicubic"}
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = open_clip.model.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    return f"local-dir:{folder}"
