"""Scenes of the demo world: what can be in an image, and the image itself.

A scene is a subject (`SUBJECTS`) in a palette (`PALETTES`), with or without a garden of flowers in front;
its seed decides position, size and details. The same scene is the same image on every machine.
"""

from random import Random

from PIL import Image

from .captions import caption, label
from .drawing import SUBJECTS, SUPERSAMPLING, Pen, backdrop, garden
from .scene import FLOWER_COLOURS, PALETTES, Scene

__all__ = [
    "FLOWER_COLOURS",
    "PALETTES",
    "SUBJECTS",
    "Scene",
    "caption",
    "label",
    "random_scene",
    "render",
]

MAX_SEED = 2**31


def random_scene(rng: Random) -> Scene:
    """Any subject in any palette; four in ten with a garden."""
    subject, palette = rng.choice(list(SUBJECTS)), rng.choice(list(PALETTES))
    return Scene(subject, palette, rng.random() < 0.4, rng.randrange(MAX_SEED))


def render(scene: Scene, size: int = 64) -> Image.Image:
    """The image of a scene: RGB, `size` x `size` pixels.

    Raises:
        KeyError: the subject or the palette does not exist.
    """
    rng, palette = Random(scene.seed), PALETTES[scene.palette]  # noqa: S311
    image = backdrop(palette, size * SUPERSAMPLING, rng)
    pen = Pen(image)
    SUBJECTS[scene.subject](pen, palette, rng)
    if scene.garden:
        garden(pen, palette, rng)
    return image.reduce(SUPERSAMPLING)
