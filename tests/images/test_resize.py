"""A smaller picture shows what the larger one did: upright, its greys and colours, its proportions."""

import io

import numpy as np
import odd
import pytest
from PIL import Image, ImageCms

from visunex.images.decode import open_rgb
from visunex.images.errors import ImageError
from visunex.images.resize import Resize, ResizeMode, resize

KINDS = odd.every_kind()


def shown(data: bytes, side: int = 32, mode: ResizeMode = "shortest") -> Image.Image:
    return open_rgb(resize(data, Resize(side, mode)).data)


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_stays_as_it_is_seen(orientation: int) -> None:
    smaller = resize(odd.turned(orientation), Resize(32))
    assert (smaller.size, smaller.original) == ((48, 32), odd.SIZE)
    assert difference(open_rgb(smaller.data), odd.gradient((48, 32))) < 4


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"one_pixel.png", "huge.jpg"}))
def test_every_kind_keeps_what_the_encoders_see(kind: str) -> None:
    seen = open_rgb(KINDS[kind])
    smaller = shown(KINDS[kind], 8)
    assert difference(smaller, seen.resize(smaller.size, Image.Resampling.LANCZOS)) < 12


@pytest.mark.parametrize("format_", ["TGA", "ICO", "PPM", "TIFF", "JPEG2000"])
def test_what_the_check_passes_can_be_resized(format_: str) -> None:
    assert shown(odd.file(odd.gradient((96, 96)), format_)).size == (32, 32)


@pytest.mark.parametrize(
    ("mode", "size"),
    [("shortest", (48, 32)), ("longest", (32, 21)), ("center-crop", (32, 32))],
)
def test_modes_say_which_side(mode: ResizeMode, size: tuple[int, int]) -> None:
    assert shown(odd.file(odd.gradient(), "PNG"), 32, mode).size == size


def test_a_crop_keeps_the_middle() -> None:
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste((0, 0, 255), (100, 0, 200, 100))
    assert (
        difference(shown(odd.file(picture, "PNG"), 50, "center-crop"), Image.new("RGB", (50, 50), "blue")) < 3
    )


def test_nothing_is_made_larger() -> None:
    assert shown(odd.file(odd.gradient(), "PNG"), 500).size == odd.SIZE
    assert shown(odd.file(odd.gradient(), "PNG"), 500, "center-crop").size == (64, 64)


def test_the_colour_profile_stays_where_it_still_holds() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for picture, kept in ((odd.gradient(), srgb), (odd.gradient().convert("CMYK"), None)):
        smaller = resize(odd.file(picture, "JPEG", icc_profile=srgb), Resize(32))
        assert Image.open(io.BytesIO(smaller.data)).info.get("icc_profile") == kept


def test_what_no_jpeg_can_hold_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        resize(odd.file(Image.new("L", (70_000, 2)), "PNG"), Resize(64))
    assert caught.value.kind == "too_long"
