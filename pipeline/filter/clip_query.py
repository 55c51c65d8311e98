"""What pictures shall look like, by words and images: one CLIP vector to compare published ones with."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.files import sha256_file
from visunex.base.folders import expanded
from visunex.images.errors import ImageError
from visunex.recipes.schema import Encode, Filter

__all__ = ["clip_vector", "image_digests"]

_LARGEST_IMAGE = 1 << 28  # bytes
_LEAST_LENGTH = 1e-6
_Decode = Callable[[bytes], NDArray[np.uint8]]


def image_digests(wanted: Filter) -> list[str]:
    """The SHA-256 of each image of a query. Raises UsageError: no such image."""
    named = [("--like-image", path) for path in wanted.like_images]
    named += [("--unlike-image", path) for path in wanted.unlike_images]
    return [sha256_file(_image(path, option)) for option, path in named]


def clip_vector(wanted: Filter, encode: Encode) -> NDArray[np.float32]:
    """What is wanted as a unit vector float32 [D].

    The mean of the unit vectors of what is liked, less `unlike_weight` times that of what is unliked. Raises
    ModelError, UsageError.
    """
    liked = _units(wanted.like, wanted.like_images, "--like-image", encode)
    unliked = _units(wanted.unlike, wanted.unlike_images, "--unlike-image", encode)
    query = sum(
        weight * units.mean(0)
        for weight, units in ((1, liked), (-wanted.unlike_weight, unliked))
        if len(units)
    )
    length = np.linalg.norm(query)
    if length < _LEAST_LENGTH:
        raise UsageError("what is liked and what is unliked are the same: nothing is left to look for")
    return np.asarray(query / length, np.float32)


def _units(texts: Sequence[str], images: Sequence[str], option: str, encode: Encode) -> NDArray[np.float64]:
    """The unit vectors [n, D] of texts and images, n possibly 0."""
    from visunex.clip.factory import load_image_encoder, load_text_encoder

    vectors = []
    if images:
        files = [_image(path, option).read_bytes() for path in images]
        encoder = load_image_encoder(encode.model, encode.pretrained, precision="fp32", device="cpu")
        decode = encoder.preprocessing.pixels
        pixels = [
            _pixels(decode, data, f"{option}: {path}") for data, path in zip(files, images, strict=True)
        ]
        vectors.append(encoder.encode(np.stack(pixels)))
    if texts:
        vectors.append(load_text_encoder(encode.model, encode.pretrained, device="cpu").encode(texts))
    rows = np.concatenate(vectors).astype(np.float64) if vectors else np.empty((0, 0))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _image(name: str, option: str) -> Path:
    path = expanded(name)
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_IMAGE:
            return path
        reason = "is larger than any picture" if path.is_file() else "is no picture's file"
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error}"
    raise UsageError(f"{option}: {name} {reason}" if path.exists() else f"{option}: there is no {name}")


def _pixels(decode: _Decode, data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        return decode(data)
    except ImageError as error:
        raise UsageError(f"{name} cannot be used: {error}") from None
