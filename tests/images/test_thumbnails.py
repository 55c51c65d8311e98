"""Small pictures: of the right size and colours, upright, whatever the file is; many of them on a sheet."""

import io

import pytest
from PIL import Image, ImageCms

from visunex.images import ImageError, sheet, thumbnail


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["WEBP"]).convert("RGB")


@pytest.mark.parametrize(
    ("size", "small"),
    [((640, 480), (160, 120)), ((100, 3000), (5, 160)), ((3, 2), (3, 2)), ((4000, 1), (160, 1))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_longer_side_is_160_pixels_at_most(
    size: tuple[int, int], small: tuple[int, int], kind: str
) -> None:
    assert opened(thumbnail(file_of(Image.new("RGB", size), kind))).size == small


def test_it_is_seen_as_a_person_sees_it() -> None:
    image = Image.new("RGB", (300, 200), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 150, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: left is on top
    shown = opened(thumbnail(file_of(image, "JPEG", exif=exif, quality=95)))
    assert shown.size == (107, 160)
    assert shown.getpixel((50, 20))[0] > 200
    assert shown.getpixel((50, 140))[2] > 200


def test_a_colour_profile_is_converted_and_a_damaged_one_left_alone() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("RGB", (200, 200), (10, 200, 30))
    for broken in (profile, b"\x00" * 40, profile[:100]):
        red, green, blue = opened(thumbnail(file_of(image, "PNG", icc_profile=broken))).getpixel((80, 80))
        assert (abs(red - 10), abs(green - 200), abs(blue - 30)) < (12, 12, 12)


def test_what_is_no_image_is_named() -> None:
    for data in (b"", b"<html>", file_of(Image.new("RGB", (90, 90)), "PNG")[:80]):
        with pytest.raises(ImageError):
            thumbnail(data)


def test_a_sheet_has_rows_and_empty_places() -> None:
    red, blue = (
        thumbnail(file_of(Image.new("RGB", (200, 100), colour), "PNG")) for colour in ("red", "blue")
    )
    large = thumbnail(file_of(Image.new("RGB", (900, 900)), "PNG"), side=800)
    assert sheet([b"no picture", red[:30], large], columns=3).getcolors() == [(504 * 172, (24, 24, 27))]
    image = sheet([red, None, blue], columns=2)
    assert image.size == (2 * 166 + 6, 2 * 166 + 6)
    places = [
        image.getpixel((6 + 80 + 166 * across, 6 + 80 + 166 * down)) for down in (0, 1) for across in (0, 1)
    ]
    assert [max(place) for place in places][1] < 40
    assert places[0][0] > 200 < places[2][2]
