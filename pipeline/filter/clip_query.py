"""What pictures shall look like, by words and images: one CLIP vector to compare published ones with."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.files import sha256_file
from visunex.base.folders import expanded
from visunex.images.errors import ImageError
from visunex.recipes.schema import Encode

__all__ = ["clip_vector", "image_digests"]

_LARGEST_IMAGE = 1 << 28  # bytes
_Decode = Callable[[bytes], NDArray[np.uint8]]


def image_digests(like_images: Sequence[str]) -> list[str]:
    """The SHA-256 of each image. Raises UsageError: no such image."""
    return [sha256_file(_image(path)) for path in like_images]


def clip_vector(like: Sequence[str], like_images: Sequence[str], encode: Encode) -> NDArray[np.float32]:
    """The mean of the unit vectors of all texts and images, itself a unit vector float32 [D].

    Raises ModelError, UsageError.
    """
    from visunex.clip.factory import load_image_encoder, load_text_encoder

    vectors = []
    if like_images:
        files = [_image(path).read_bytes() for path in like_images]
        images = load_image_encoder(encode.model, encode.pretrained, precision="fp32", device="cpu")
        decode = images.preprocessing.pixels
        pixels = [_pixels(decode, data, path) for data, path in zip(files, like_images, strict=True)]
        vectors.append(images.encode(np.stack(pixels)))
    if like:
        vectors.append(load_text_encoder(encode.model, encode.pretrained, device="cpu").encode(like))
    units = np.concatenate(vectors).astype(np.float64)
    mean = (units / np.linalg.norm(units, axis=1, keepdims=True)).mean(0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def _image(name: str) -> Path:
    path = expanded(name)
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_IMAGE:
            return path
        reason = "is larger than any picture" if path.is_file() else "is no picture's file"
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error}"
    raise UsageError(
        f"--like-image: {name} {reason}" if path.exists() else f"--like-image: there is no {name}"
    )


def _pixels(decode: _Decode, data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        return decode(data)
    except ImageError as error:
        raise UsageError(f"--like-image: {name} cannot be used: {error}") from None
