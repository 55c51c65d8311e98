"""Mutated pictures: a result, or a named failure. A fixed seed; VISUNEX_FUZZ says how many."""

import os
import random

import odd
import pytest

from visunex.images.decode import decode
from visunex.images.errors import ImageError
from visunex.images.resize import Resize, resize
from visunex.images.validate import Limits, inspect

COUNT = int(os.environ.get("VISUNEX_FUZZ", "1500"))
LARGE = 100_000  # pixels: larger ones only take longer

pytestmark = [pytest.mark.fuzz, pytest.mark.filterwarnings("ignore")]


def seeds() -> list[bytes]:
    small = [
        odd.file(odd.gradient((40, 30)), kind)
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "TGA", "ICO")
    ]
    kinds = odd.every_kind()
    small += [
        kinds[name] for name in ("rotated.jpg", "sixteen_bit.tif", "palette_transparent.png", "cmyk.jpg")
    ]
    return [
        *small,
        odd.animated("WEBP"),
        odd.file(odd.gradient((40, 30)), "JPEG2000"),
        odd.file(odd.gradient((40, 30)), "PPM"),
    ]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Some bytes changed, taken out or put in twice, mostly near the start, where headers are."""
    bent = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        at = int(len(bent) * dice.random() ** 3)
        match dice.randrange(4):
            case 0:
                bent[at : at + 1] = dice.randbytes(1)
            case 1:
                bent[at : at + 4] = dice.choice([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
            case 2:
                del bent[at : at + dice.randint(1, 40)]
            case _:
                bent[at:at] = bent[at : at + dice.randint(1, 40)]
    return bytes(bent)


def test_mutated_pictures_are_read_or_refused_by_name() -> None:
    dice, whole, named = random.Random(14), seeds(), list[tuple[str, str]]()
    for _ in range(COUNT):
        data = mutated(dice.choice(whole), dice)
        try:
            header = inspect(data, Limits(max_pixels=LARGE))
            assert header.width * header.height <= LARGE
            decode(data, dice.choice([None, 8]))
            assert resize(data, Resize(16, dice.choice(["shortest", "longest", "center-crop"]))).data
        except ImageError as error:
            named.append((error.kind, error.message))
    assert all(kind and message for kind, message in named)
    assert 0 < len(named) < COUNT
