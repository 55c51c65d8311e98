"""Is it a picture, and a whole one? Told without decoding, in agreement with decoding."""

import functools
import io
import random

import hostile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from visunex.images.errors import ImageError
from visunex.images.validate import Header, Limits, inspect

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
WITH_CHECK = ("JPEG", "PNG", "WEBP", "GIF")


@functools.cache
def file_of(kind: str, size: tuple[int, int] = (40, 30), **save: object) -> bytes:
    image = Image.frombytes("RGB", size, random.Random(1).randbytes(3 * size[0] * size[1]))
    buffer = io.BytesIO()
    image.save(buffer, kind, **save)
    return buffer.getvalue()


def verdict(data: bytes, limits: Limits | None = None) -> str | None:
    try:
        inspect(data, limits or Limits())
    except ImageError as error:
        return error.kind
    return None


@pytest.mark.parametrize("kind", FORMATS)
def test_whole_pictures_are_taken(kind: str) -> None:
    assert inspect(file_of(kind), Limits()) == Header(kind, 40, 30)


@pytest.mark.parametrize(
    "save", [{"progressive": True}, {"quality": 5}, {"exif": b"Exif\0\0" + b"\xff\xd9" * 9}]
)
def test_jpegs_of_every_make(save: dict[str, object]) -> None:
    whole = file_of("JPEG", (300, 200), **save)
    assert verdict(whole) is None
    assert verdict(whole + b"trailing bytes, as some cameras leave them") is None
    assert verdict(whole[:-50]) == "truncated"


@pytest.mark.parametrize("kind", WITH_CHECK)
@given(share=st.floats(0.05, 0.99))
@settings(max_examples=40, deadline=None)
def test_cut_pictures_are_not(kind: str, share: float) -> None:
    data = file_of(kind, (200, 150))
    assert verdict(data[: int(share * len(data))]) in ("truncated", "not_an_image", "damaged")


@pytest.mark.parametrize("kind", FORMATS)
@given(share=st.floats(0.3, 0.97), seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_what_the_structure_passes_can_be_decoded(kind: str, share: float, seed: int) -> None:
    """Cut anywhere: whatever still counts as whole by its structure is so for the decoder, too."""
    data = file_of(kind, (64, 48))[: int(share * 64 * 48 * 3) + seed % 50]
    if verdict(data) is None:
        Image.open(io.BytesIO(data)).load()


@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF"]),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_get_a_verdict(data: bytes, start: bytes) -> None:
    kinds = ("empty", "truncated", "not_an_image", "damaged", "too_many_pixels", "git_lfs_pointer", "heic")
    assert verdict(start + data) in kinds


@given(position=st.floats(0, 0.999), value=st.integers(0, 255), kind=st.sampled_from(FORMATS))
@settings(max_examples=150, deadline=None)
def test_bent_files_get_a_verdict(position: float, value: int, kind: str) -> None:
    data = bytearray(file_of(kind))
    data[int(position * len(data))] = value
    verdict(bytes(data))  # whatever it is, no other exception


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(min_side=31), "too_small"),
        (Limits(min_side=30), None),
        (Limits(max_pixels=1199), "too_many_pixels"),
        (Limits(max_pixels=1200), None),
        (Limits(max_aspect_ratio=1.3), "aspect_ratio"),
        (Limits(max_aspect_ratio=1.34), None),
    ],
)
def test_limits(limits: Limits, kind: str | None) -> None:
    assert verdict(file_of("PNG"), limits) == kind


def test_a_bomb_is_refused_unopened() -> None:
    assert verdict(hostile.png_header(30_000, 30_000)) == "too_many_pixels"
    assert (
        verdict(hostile.png_header(30_000, 30_000), Limits(max_pixels=10**12)) == "too_many_pixels"
    )  # Pillow's own limit


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><p>", "an HTML page"),
        (b"\n  <html>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<svg width="1">', "an SVG drawing"),
        (b"%PDF-1.4", "no format of pictures"),
    ],
)
def test_what_it_is_instead(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        inspect(data, Limits())
    assert caught.value.described.startswith("not_an_image: ")


def test_damage_behind_sound_checksums_is_found_by_decoding() -> None:
    """A PNG whose chunks are all there and right, with too few pixels in them."""
    data = hostile.png_header(64, 64)
    assert verdict(data) is None
    assert verdict(data, Limits(decode=True)) == "truncated"


def test_what_the_decoder_reads_is_taken_however_odd_its_structure() -> None:
    """Stray bytes before the scan, and a GIF without its last byte: browsers and encoders show both."""
    jpeg, gif = file_of("JPEG", (300, 200)), file_of("GIF")
    scan = jpeg.index(b"\xff\xda")
    assert verdict(jpeg[:scan] + b"garbage" + jpeg[scan:]) is None
    assert verdict(gif[:-1]) is None
    assert verdict(gif[: len(gif) // 2]) == "truncated"
