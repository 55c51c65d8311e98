"""Preprocessing: OpenAI CLIP's own to the bit, and every odd file as a person sees it."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from visunex.clip import preprocess
from visunex.clip.preprocess import Preprocessing
from visunex.images.decode import decode, open_rgb
from visunex.images.errors import ImageError

CLIPS_OWN = Compose([Resize(224, interpolation=InterpolationMode.BICUBIC), CenterCrop(224)])
KINDS = odd.every_kind()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700))
def test_pixels_are_those_of_clips_own_transform(width: int, height: int) -> None:
    picture = noise(width, height)
    if max(width, height) < 60 * min(width, height):
        assert np.array_equal(Preprocessing(exact=True).square(picture), np.asarray(CLIPS_OWN(picture)))


def test_paintings_give_the_pixels_of_clips_own_transform(reference: Path) -> None:
    for path in sorted((reference / "aivazovsky").glob("*.jpg")):
        ours = Preprocessing(exact=True).pixels(path.read_bytes())
        assert np.array_equal(ours, np.asarray(CLIPS_OWN(Image.open(path).convert("RGB"))))


SIZES = [(2003, 1501), (1501, 2003), (897, 1800), (3601, 1797)]
WAYS: dict[str, dict[str, Any]] = {
    **{f"orientation {number}": {"orientation": number} for number in range(1, 9)},
    **{mode: {"mode": mode} for mode in ("CMYK", "L")},
    "progressive": {"progressive": True},
}


def jpeg(picture: Image.Image, mode: str = "RGB", orientation: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return odd.file(picture.convert(mode), "JPEG", quality=92, exif=exif, **options)


def check_reduced(data: bytes, how: Preprocessing) -> None:
    """It is decoded smaller, twice what the tower sees at least, and gives the same pixels nearly."""
    opened, whole = decode(data, 2 * how.size).image, open_rgb(data)
    assert 2 * how.size <= min(opened.size) <= min(whole.size) / 2 + 1
    exact = replace(how, exact=True).pixels(data).astype(float)
    difference = np.abs(how.pixels(data) - exact)
    moved_by_a_pixel = np.abs(np.roll(exact, 1, axis=0) - exact)
    assert difference.mean() < min(1.5, moved_by_a_pixel.mean() / 8)
    assert difference.max() < 16


@pytest.mark.parametrize("size", SIZES)
def test_large_jpegs_are_decoded_at_reduced_scale_and_look_the_same(size: tuple[int, int]) -> None:
    check_reduced(jpeg(odd.photograph(size)), Preprocessing())


@pytest.mark.parametrize("way", list(WAYS))
def test_reduced_jpegs_keep_their_place_whatever_their_kind(way: str) -> None:
    check_reduced(jpeg(odd.photograph((511, 389)), **WAYS[way]), Preprocessing(size=48))


def test_reduced_jpegs_are_squashed_whole() -> None:
    check_reduced(jpeg(odd.photograph((511, 389))), Preprocessing(size=48, resize="squash"))


def test_jpegs_that_are_not_much_larger_than_needed_are_decoded_whole() -> None:
    data = jpeg(odd.photograph((1200, 895)))
    assert decode(data, 448).image.size == (1200, 895)
    assert (
        np.abs(Preprocessing().pixels(data) - Preprocessing(exact=True).pixels(data).astype(int)).max() <= 1
    )


@pytest.mark.parametrize("size", [(2000, 20), (20, 2000), (500, 3)])
def test_long_pictures_are_not_grown_whole_and_look_the_same(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = noise(*size).resize(size).reduce(1)
    smooth = picture.resize((max(1, size[0] // 8), max(1, size[1] // 8))).resize(
        size, Image.Resampling.BICUBIC
    )
    monkeypatch.setattr(preprocess, "_MAX_RESIZED", 0)
    part = Preprocessing(exact=True).square(smooth).astype(int)
    monkeypatch.setattr(preprocess, "_MAX_RESIZED", 2**40)
    assert np.abs(part - Preprocessing(exact=True).square(smooth)).max() <= 2


def test_squashing_towers_get_the_whole_picture() -> None:
    squashed = Preprocessing(size=32, resize="squash", interpolation="bilinear").square(noise(90, 40))
    assert np.array_equal(squashed, np.asarray(noise(90, 40).resize((32, 32), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_odd_kind_gives_a_square_of_pixels(kind: str) -> None:
    pixels = Preprocessing().pixels(KINDS[kind])
    assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.uint8)


@pytest.mark.parametrize("name", list(odd.no_pictures()))
def test_what_gives_no_pixels_is_named(name: str) -> None:
    reason, data = odd.no_pictures()[name]
    with pytest.raises(ImageError) as caught:
        Preprocessing().pixels(data)
    assert caught.value.kind == reason
    assert caught.value.message
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.kind, again.message) == (caught.value.kind, caught.value.message)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_named_or_harmless(data: st.DataObject) -> None:
    kind = data.draw(
        st.sampled_from([kind for kind in KINDS if kind not in ("huge.jpg", "long.png", "tall.png")])
    )
    damaged = bytearray(KINDS[kind])
    for position in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=8)):
        damaged[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        assert Preprocessing(size=32).pixels(bytes(damaged[:cut])).shape == (32, 32, 3)
    except ImageError as error:
        reasons = {"empty", "not_an_image", "truncated", "damaged", "too_many_pixels"}
        assert error.kind in reasons  # noqa: PT017 - either outcome is right
