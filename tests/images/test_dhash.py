"""Perceptual hashes: near for what looks alike, far for what does not."""

import io

from PIL import Image

from visunex.images.dhash import difference_hash


def test_perceptual_hashes_are_near_for_what_looks_alike() -> None:
    image = Image.effect_mandelbrot((256, 256), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    files = []
    for size, kind in ((256, "PNG"), (128, "JPEG"), (200, "WEBP")):
        buffer = io.BytesIO()
        image.resize((size, size)).save(buffer, kind)
        files.append(difference_hash(buffer.getvalue()))
    assert max((files[0] ^ other).bit_count() for other in files) <= 4
    turned = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(turned, "PNG")
    assert (files[0] ^ difference_hash(turned.getvalue())).bit_count() > 10
