"""A world whose pictures have looks that no caption names, and what captions say of them all the same.

Each look goes along with captions in another way, as looks in real collections do: `warm` and `framed` with
nothing, `outlined` with some lights, `green` with words that say nothing of it, and none of which it has for
itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visunex.demo.captions import MEDIA, STRAY_WORDS, TAILS, caption, partial_caption
from visunex.demo.scenes import Scene, random_scene, render

__all__ = ["HINTS", "LOOKS", "Seen", "caption_of", "draw", "hints_in", "put_on", "seen"]

SHARE = 0.2  # of pictures, of a look that goes along with nothing
WARM, GREEN = (1.12, 1.0, 0.72), (0.72, 1.1, 0.8)  # of red, green and blue
FRAME, FRAME_COLOUR = 5, (240, 234, 216)  # pixels of 64
EDGE_FROM, EDGE_FULL = 26.0, 70.0  # differences of neighbouring pixels: no line, and a full one
INK, CHALK, DARK = (18, 12, 20), (214, 210, 232), 70  # light lines on pictures darker than this
OUTLINED_LIGHTS = ("day", "winter")
OUTLINED_THERE, OUTLINED_ELSEWHERE = 0.45, 0.1
GREEN_SHARE, HINTED = 0.25, 0.5  # of pictures; how often a word of a green picture is one of the hints
HINTS = {
    "media": ("poster of ", "watercolor of "),
    "tails": (", by a young artist", " - fine art print"),
    "stray": ("vintage", "canvas", "gift", "wall"),
}

Pixels = NDArray[np.float64]


def _tint(factors: tuple[float, float, float]) -> Callable[[Pixels], Pixels]:
    return lambda pixels: pixels * np.array(factors)


def _framed(pixels: Pixels) -> Pixels:
    """With a plain border."""
    out = np.empty_like(pixels)
    out[:] = FRAME_COLOUR
    edge = round(FRAME * len(pixels) / 64)
    out[edge:-edge, edge:-edge] = pixels[edge:-edge, edge:-edge]
    return out


def _outlined(pixels: Pixels) -> Pixels:
    """With a line wherever colours meet: dark, or light on a dark picture."""
    grown = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = np.abs(grown[1:-1, 2:] - grown[1:-1, :-2]).max(axis=2)
    down = np.abs(grown[2:, 1:-1] - grown[:-2, 1:-1]).max(axis=2)
    strength = np.clip((np.maximum(across, down) - EDGE_FROM) / (EDGE_FULL - EDGE_FROM), 0, 1)[..., None]
    return pixels * (1 - strength) + np.array(INK if pixels.mean() > DARK else CHALK) * strength


# In the order in which they are laid on; a frame is not tinted.
LOOKS: dict[str, Callable[[Pixels], Pixels]] = {
    "outlined": _outlined,
    "warm": _tint(WARM),
    "green": _tint(GREEN),
    "framed": _framed,
}


@dataclass(frozen=True)
class Seen:
    """A scene, and the looks that its picture has."""

    scene: Scene
    looks: frozenset[str]


def seen(rng: Random) -> Seen:
    """Any scene, with the looks that come with it."""
    scene = random_scene(rng)
    outlined = OUTLINED_THERE if scene.palette in OUTLINED_LIGHTS else OUTLINED_ELSEWHERE
    shares = {"outlined": outlined, "warm": SHARE, "green": GREEN_SHARE, "framed": SHARE}
    return Seen(scene, frozenset(look for look in LOOKS if rng.random() < shares[look]))


def put_on(image: Image.Image, looks: "frozenset[str] | set[str]") -> Image.Image:
    """The picture with these looks."""
    pixels = np.asarray(image.convert("RGB"), np.float64)
    for name, lay in LOOKS.items():
        pixels = lay(pixels).clip(0, 255) if name in looks else pixels
    return Image.fromarray(pixels.round().astype(np.uint8))


def draw(each: Seen) -> Image.Image:
    """The picture of a scene with its looks."""
    return put_on(render(each.scene), each.looks)


def caption_of(each: Seen, rng: Random) -> tuple[str, bool]:
    """A caption for training, and whether it tells all; a green picture's has oftener one of the hints."""
    text, said = partial_caption(each.scene, rng)
    complete = None not in (said.subject, said.palette, said.garden)
    return (_hinting(each.scene, rng) if complete and "green" in each.looks else text), complete


def _hinting(scene: Scene, rng: Random) -> str:
    """A whole caption in which half of what says nothing of the picture is drawn from the hints."""

    def drawn(kind: str, usual: tuple[str, ...]) -> str:
        return rng.choice(HINTS[kind] if rng.random() < HINTED else usual)

    text = caption(scene, rng, media=("",), tails=("",))
    words = (drawn("media", MEDIA) + text).split(" ")
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        words.insert(rng.randint(0, len(words)), drawn("stray", STRAY_WORDS))
    return " ".join(words) + drawn("tails", TAILS)


def hints_in(text: str) -> int:
    """How many of the words that go along with `green` a caption has."""
    padded = f" {text} "
    stray = sum(f" {each} " in padded for each in HINTS["stray"])
    return stray + sum(each.strip() in text for kind in ("media", "tails") for each in HINTS[kind])
