"""Marks of the looks of `looks.py` by arithmetic on pixels: judges that have learnt nothing."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.evidence.looks import FRAME, FRAME_COLOUR
from visunex.demo.colours import warmth

__all__ = ["MARKS", "frame", "greenness", "lines", "warmth"]

NEAR = 40  # of a frame's colour, in each channel
RING = FRAME - 2  # pixels of 64: what a frame that is drawn too thin still fills

Images = Sequence[Image.Image]


def greenness(images: Images, _prompts: Sequence[str]) -> list[float]:
    """How much more green than red and blue there is in each image, -1 to 1."""
    pixels = (np.asarray(each.convert("RGB"), np.float64) / 255 for each in images)
    return [float((each[..., 1] - each[..., [0, 2]].mean(axis=2)).mean()) for each in pixels]


def frame(images: Images, _prompts: Sequence[str]) -> list[float]:
    """The share of each image's outermost pixels that have the colour of a frame."""
    return [_framed(np.asarray(each.convert("RGB"), np.int16)) for each in images]


def _framed(pixels: np.ndarray) -> float:
    near = (np.abs(pixels - np.array(FRAME_COLOUR)) < NEAR).all(axis=2)
    inner = np.zeros_like(near)
    inner[RING:-RING, RING:-RING] = True
    return float(near[~inner].mean())


def lines(images: Images, _prompts: Sequence[str]) -> list[float]:
    """How much of each image is thinner than three pixels: the closed image less the opened one."""
    return [_thin(each.convert("L")) for each in images]


def _thin(image: Image.Image) -> float:
    wide, narrow = ImageFilter.MaxFilter(3), ImageFilter.MinFilter(3)
    closed, opened = image.filter(wide).filter(narrow), image.filter(narrow).filter(wide)
    return float((np.asarray(closed, np.float64) - np.asarray(opened, np.float64)).mean() / 255)


# Of each look, the mark by which it is told.
MARKS = {"warm": "warmth", "green": "greenness", "framed": "frame", "outlined": "lines"}
