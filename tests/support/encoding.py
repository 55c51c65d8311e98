"""What tests of encoders share: how alike vectors are, and some pixels to encode."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visunex.clip.image_encoder import ImageEncoder
from visunex.clip.preprocess import Pixels


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    wide = [
        rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        for rows in (a, b)
    ]
    return (wide[0] * wide[1]).sum(axis=1)


def some_pixels(encoder: ImageEncoder, count: int = 6) -> Pixels:
    size = encoder.preprocessing.size
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
