"""Tastes of the demo world, each in the spaces of both tiny CLIPs, from pictures that are drawn here."""

import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.evidence.looks import LOOKS, put_on
from visunex.aesthetic_embeddings import reduce, save
from visunex.clip import load_image_encoder
from visunex.demo import JUDGE_MODEL, TINY_MODEL
from visunex.demo.scenes import PALETTES, SUBJECTS, Scene, label, random_scene, render
from visunex.pipeline.reduce.groups import group

MODELS = (TINY_MODEL, JUDGE_MODEL)
MOST = 1000  # pictures of a taste
WRONG = 0.2  # share of pictures that are of another taste
TINT = (1.12, 1.0, 0.72)  # of red, green and blue: what no caption of the world mentions
BATCH = 100

Rows = NDArray[np.float32]
Make = Callable[[str], Rows]  # a model -> a vector [1, D]


def scenes(seed: int, count: int, wanted: Callable[[Scene], bool]) -> list[Scene]:
    """So many scenes for which something holds, drawn by `seed`."""
    rng = random.Random(seed)
    drawn = iter(lambda: random_scene(rng), None)
    return [scene for scene, _ in zip(filter(wanted, drawn), range(count), strict=False)]


def tinted(image: Image.Image) -> Image.Image:
    """The same in a warm light."""
    return Image.fromarray((np.asarray(image) * np.array(TINT)).clip(0, 255).astype(np.uint8))


def _with_look(look: str) -> list[Image.Image]:
    return [put_on(image, {look}) for image in pool("plain")]


POOLS: dict[str, Callable[[], list[Image.Image]]] = {
    "flowers": lambda: [render(scene) for scene in scenes(17, MOST, lambda scene: scene.has_flowers)],
    "other flowers": lambda: [render(scene) for scene in scenes(18, MOST, lambda scene: scene.has_flowers)],
    "plain": lambda: [render(scene) for scene in scenes(19, 400, lambda scene: not scene.has_flowers)],
    "night": lambda: [render(scene) for scene in scenes(20, 200, lambda scene: scene.palette == "night")],
    "wrong": lambda: [
        render(scene)
        for scene in scenes(
            21, 60, lambda scene: (scene.palette, scene.subject, scene.garden) == ("neon", "ship", False)
        )
    ],
    "tinted": lambda: [tinted(image) for image in pool("plain")],
    **{f"look {look}": partial(_with_look, look) for look in LOOKS},
}


@cache
def pool(name: str) -> list[Image.Image]:
    """The pictures of a pool."""
    return POOLS[name]()


class Vectors:
    """Raw vectors of the pools by both models, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._encoder = cache(lambda model: load_image_encoder(model, precision="fp32", device="cpu"))
        self.of = cache(self._of)

    def _of(self, name: str, model: str) -> Rows:
        path = self.folder / f"{name.replace(' ', '-')}-{model.replace('/', '-')}.npy"
        if not path.exists():
            encoder, images = self._encoder(model), pool(name)
            lots = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
            found = [encoder.encode(np.stack([encoder.preprocessing.square(x) for x in lot])) for lot in lots]
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.concatenate(found))
        return np.load(path)


def unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def largest_group(rows: Rows) -> Rows:
    """The unit mean of the largest of the groups that the vectors fall into."""
    found = group(unit(rows))
    return reduce([rows[found.of == 0]], "unit-mean")


def reductions(vectors: Vectors, rows: Callable[[str], Rows]) -> dict[str, Make]:
    """Each way to make one of many; `rows` are those of a model."""

    def contrast(model: str) -> Rows:
        return reduce([unit(rows(model))], "contrast", baseline=[unit(vectors.of("plain", model))])

    return {
        "mean": lambda model: reduce([rows(model)], "mean"),
        "unit-mean": lambda model: reduce([rows(model)], "unit-mean"),
        "median": lambda model: reduce([rows(model)], "median"),
        "contrast": contrast,
        "largest-group": lambda model: largest_group(rows(model)),
    }


def spoilt(vectors: Vectors, model: str) -> Rows:
    """200 pictures, a fifth of which are of another taste."""
    wrong = vectors.of("wrong", model)[: round(200 * WRONG)]
    return np.concatenate([vectors.of("flowers", model)[: 200 - len(wrong)], wrong])


def written(folder: Path, name: str, make: Make) -> str:
    """The path of a taste, with its twin in the other model's space beside it."""
    for model in MODELS:
        behind = "" if model == TINY_MODEL else f"-{model}"
        save(folder / f"{name}{behind}.pt", make(model), {"model": {"name": model}})
    return str(folder / f"{name}.pt")


def every_scene(garden: bool = False) -> list[Scene]:
    """Every thing but a flower itself, in every light."""
    return [
        Scene(subject, palette, garden, 0)
        for subject in SUBJECTS
        if subject != "flower"
        for palette in PALETTES
    ]


def subjects_of(count: int, garden: bool = False) -> list[Scene]:
    """So many of these to be prompts."""
    return random.Random(2).sample(every_scene(garden), count)


def prompts(garden: bool, count: int) -> Sequence[str]:
    """The prompts of these scenes."""
    return [label(scene) for scene in subjects_of(count, garden)]
