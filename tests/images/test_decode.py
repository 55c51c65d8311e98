"""Every odd file as a person sees it."""

import io
import struct

import numpy as np
import odd
import pytest
from PIL import Image

from visunex.images.decode import open_rgb
from visunex.images.errors import ImageError

KINDS = odd.every_kind()


def mean_difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


@pytest.mark.parametrize("orientation", range(10))
def test_pictures_stand_upright_as_their_exif_says(orientation: int) -> None:
    shown = open_rgb(odd.turned(orientation))
    assert shown.size == odd.SIZE
    assert mean_difference(shown, odd.gradient()) < 2


@pytest.mark.parametrize("kind", ["cmyk.jpg", "palette.gif", "animated.gif", "animated.png", "animated.webp"])
def test_colours_stay_what_they_are(kind: str) -> None:
    assert mean_difference(open_rgb(KINDS[kind]), odd.gradient()) < 12


@pytest.mark.parametrize("kind", ["alpha.png", "alpha.webp", "grey_alpha.png"])
def test_what_is_transparent_is_white(kind: str) -> None:
    shown = np.asarray(open_rgb(KINDS[kind]))
    half = odd.SIZE[0] // 2
    assert (shown[:, half:] == 255).all()
    assert shown[:, : half - 1].mean() < 140


def test_half_transparency_is_blended_with_white() -> None:
    grey = odd.file(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")
    assert np.asarray(open_rgb(grey)).tolist() == [[[127] * 3] * 4] * 4


def test_the_transparent_colour_of_a_palette_is_white() -> None:
    data = odd.palette_with_transparency()
    clear = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3] == 0
    assert clear.any()
    assert (np.asarray(open_rgb(data))[clear] == 255).all()
    assert not (np.asarray(open_rgb(data))[~clear] == 255).all(axis=1).any()


@pytest.mark.parametrize("kind", ["sixteen_bit.png", "sixteen_bit.tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    grey = np.asarray(open_rgb(KINDS[kind]))[..., 0]
    expected = np.asarray(odd.sixteen_bit()).astype(float) / 257
    assert np.abs(grey - expected).max() <= 0.51


def test_deeper_greys_are_stretched_over_what_they_hold() -> None:
    floats = np.linspace(-3, 5, 64 * 64, dtype=np.float32).reshape(64, 64)
    whole = (floats * 1e6).astype(np.int32)
    floats[0, 0] = np.nan
    for values in (floats, whole):
        grey = np.asarray(open_rgb(odd.file(Image.fromarray(values), "TIFF")))
        assert grey.min() == 0
        assert grey.max() == 255


def deep_tiff(values: np.ndarray, bits: int, photometric: int = 1) -> bytes:
    """A little-endian TIFF of unsigned greys in one strip (TIFF 6.0)."""
    body, (high, wide) = values.tobytes(), values.shape
    tags = [(256, wide), (257, high), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1)]
    tags += [(278, high), (279, len(body)), (339, 1)]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags]
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4) + body


def test_zero_is_white_where_the_file_says_so() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype("<u2").reshape(64, 64)
    black, white = (np.asarray(open_rgb(deep_tiff(ramp, 16, zero)))[..., 0] for zero in (1, 0))
    assert black[0, 0] == 0
    assert (white == 255 - black).all()


def test_32_bit_integers_show_what_they_hold() -> None:
    for most in (255, 60_000, 2**32 - 1):
        ramp = np.linspace(0, most, 64 * 64).astype("<u4").reshape(64, 64)
        grey = np.asarray(open_rgb(deep_tiff(ramp, 32)))[..., 0]
        assert (grey[0, 0], grey[-1, -1]) == (0, 255)
        assert 120 < grey.mean() < 135


def test_more_pixels_than_the_cap_are_refused_before_decoding() -> None:
    data = odd.file(Image.new("1", (12000, 12000)), "PNG")
    with pytest.raises(ImageError) as caught:
        open_rgb(data)
    assert caught.value.kind == "too_many_pixels"


def test_scanners_colours_are_read() -> None:
    assert open_rgb(odd.file(Image.new("LAB", (8, 8)), "TIFF")).mode == "RGB"


def test_postscript_is_not_handed_to_ghostscript() -> None:
    with pytest.raises(ImageError) as caught:
        open_rgb(odd.file(odd.gradient(), "EPS"))
    assert caught.value.kind == "not_an_image"


def test_broken_exif_does_not_cost_the_picture() -> None:
    good = odd.turned(1)
    position = good.index(b"Exif\0\0") + 6
    broken = good[:position] + b"\xff" * 8 + good[position + 8 :]
    assert mean_difference(open_rgb(broken), odd.gradient()) < 2
