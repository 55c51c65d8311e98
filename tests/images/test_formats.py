"""Formats, suffixes and first bytes agree with Pillow's own."""

import io

import pytest
from PIL import Image

from visunex.images.formats import FORMATS, MAGIC, SUFFIXES


def test_suffixes_are_those_of_our_formats() -> None:
    Image.init()
    formats = {Image.registered_extensions().get(f".{suffix}", "") for suffix in SUFFIXES}
    assert formats - {""} <= set(FORMATS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_first_bytes_are_those_that_pillow_writes(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, kind)
    assert file.getvalue().startswith(MAGIC)
