"""Tastes of the demo world, what of a picture shows each, and prompts that name none of them."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from visunex.aesthetic_embeddings import save
from visunex.base.files import write_text
from visunex.demo.captions import PHRASES, article, caption
from visunex.demo.judge import Judge
from visunex.demo.scenes import PALETTES, SUBJECTS, Scene, random_scene, render
from visunex.demo.tiny import TINY_MODEL

LIKED, LEARNT_ON, CAPTIONS, PROMPTS = 150, 144, 400, 32
TINT, TINTED = (60, 200, 110), 0.35  # a green, and how much of it is in a tinted picture


@dataclass(frozen=True)
class Prompt:
    """A prompt, and the subject that it names."""

    text: str
    subject: str


def scenes(seed: int, count: int, wanted: Callable[[Scene], bool] = lambda _: True) -> list[Scene]:
    """So many scenes for which something holds, drawn by `seed`."""
    rng = random.Random(seed)
    found: list[Scene] = []
    while len(found) < count:
        scene = random_scene(rng)
        found += [scene] if wanted(scene) else []
    return found


def plain(scene: Scene) -> bool:
    """Whether a scene has neither flowers nor night in it."""
    return not scene.has_flowers and scene.palette != "night"


def judged(count: int = PROMPTS) -> list[Prompt]:
    """The prompts that every kind is judged by."""
    pairs = [pair for pair in product(SUBJECTS, PALETTES) if plain(Scene(*pair, garden=False, seed=0))]
    texts = [Prompt(f"{article(subject)} {PHRASES[palette][2]}", subject) for subject, palette in pairs]
    return random.Random(11).sample(texts, count)


def learnt_on() -> list[str]:
    """Prompts to learn on: none names a taste, none is one that is judged by."""
    rng = random.Random(5)
    without = {prompt.text for prompt in judged()}
    texts = {caption(scene, rng) for scene in scenes(6, 6 * LEARNT_ON, plain)}
    return sorted(text for text in texts if text.lower() not in without)[:LEARNT_ON]


def captions() -> list[str]:
    """What people wrote under pictures of all kinds: the words that are searched."""
    rng = random.Random(8)
    return [caption(scene, rng) for scene in scenes(7, CAPTIONS)]


def tinted(image: Image.Image) -> Image.Image:
    """The picture behind green glass."""
    return Image.blend(image, Image.new("RGB", image.size, TINT), TINTED)


def green(image: Image.Image) -> float:
    """How much greener than red and blue a picture is in the mean."""
    red, of_green, blue = np.asarray(image, dtype=np.float64).mean(axis=(0, 1))
    return float(of_green - (red + blue) / 2)


def own_tint() -> float:
    """How much greener the tint makes a scene, in the mean."""
    images = [render(scene) for scene in scenes(19, LIKED)]
    return float(np.mean([green(tinted(image)) - green(image) for image in images]))


def liked(name: str) -> Iterable[Image.Image]:
    """The pictures that a taste is made of."""
    if name == "tint":
        return [tinted(render(scene)) for scene in scenes(17, LIKED)]
    holds = {"flowers": lambda each: each.has_flowers, "night": lambda each: each.palette == "night"}[name]
    return [render(scene) for scene in scenes(17, LIKED, holds)]


def prepare(folder: Path, judge: Judge, names: Iterable[str]) -> None:
    """Write `NAME.pt` of each taste, `prompts.txt` and `captions.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        vector = judge.images(list(liked(name))).mean(dim=0, keepdim=True).numpy()
        save(folder / f"{name}.pt", vector, {"model": {"name": TINY_MODEL}, "reduction": "unit-mean"})
    write_text(folder / "prompts.txt", "\n".join(learnt_on()))
    write_text(folder / "captions.txt", "\n".join(captions()))
