"""The renderer: repeatable, clean, and honest about flowers."""

import re
from dataclasses import replace
from itertools import product
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from visunex.demo.captions import partial_caption
from visunex.demo.colours import flower_share
from visunex.demo.scenes import (
    FLOWER_COLOURS,
    PALETTES,
    SUBJECTS,
    Scene,
    caption,
    label,
    random_scene,
    render,
)

FLOWER_WORDS = re.compile(r"flower|garden|floral|blossom", re.IGNORECASE)


def scenes(count: int, seed: int = 0) -> list[Scene]:
    rng = Random(seed)
    return [random_scene(rng) for _ in range(count)]


def pixels(scene: Scene, size: int = 64) -> np.ndarray:
    return np.asarray(render(scene, size), dtype=float)


def test_the_same_scene_is_the_same_picture_and_another_seed_is_not() -> None:
    for scene in scenes(40):
        assert np.array_equal(pixels(scene), pixels(scene))
        assert not np.array_equal(pixels(scene), pixels(replace(scene, seed=scene.seed + 1)))


@pytest.mark.parametrize("size", [32, 64, 200])
def test_size_and_mode(size: int) -> None:
    picture = render(Scene("castle", "night", True, 1), size)
    assert (picture.size, picture.mode) == ((size, size), "RGB")


def test_a_size_only_scales() -> None:
    for scene in scenes(20):
        small = np.asarray(render(scene, 192).reduce(3), dtype=float)
        assert np.abs(small - pixels(scene)).mean() < 6


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError):
        render(Scene("teapot", "night", False, 1))
    with pytest.raises(KeyError):
        render(Scene("castle", "noon", False, 1))


def test_every_subject_and_palette_looks_its_own() -> None:
    """Means over seeds of any two contents differ clearly, so that there is something to learn."""
    means = {
        pair: np.mean([pixels(Scene(*pair, garden=False, seed=seed)) for seed in range(6)], axis=0)
        for pair in product(SUBJECTS, PALETTES)
    }
    closest = min(
        np.abs(means[a] - means[b]).mean() for a in means for b in means if a < b
    )  # fmt: skip
    assert closest > 2


def test_flower_share_separates_flowers_from_everything_else() -> None:
    shares = [(scene.has_flowers, flower_share(render(scene))) for scene in scenes(400, seed=5)]
    assert min(share for flowers, share in shares if flowers) > 0.06
    assert max(share for flowers, share in shares if not flowers) < 0.002


def test_flower_share_bears_blur() -> None:
    for scene in scenes(100, seed=6):
        blurred = render(scene).filter(ImageFilter.GaussianBlur(1))
        assert (flower_share(blurred) > 0.03) == scene.has_flowers


def test_flower_share_knows_the_petals_and_no_palette() -> None:
    for colour in FLOWER_COLOURS:
        assert flower_share(Image.new("RGB", (8, 8), colour)) == 1
    for palette in PALETTES.values():
        for colour in (*palette.sky, *palette.ground, palette.wall, palette.roof, palette.leaf, palette.cap):
            assert flower_share(Image.new("RGB", (8, 8), colour)) == 0


def test_captions_speak_of_flowers_exactly_when_there_are_some() -> None:
    rng = Random(1)
    written = [(scene, caption(scene, rng)) for scene in scenes(3000, seed=2)]
    for scene, text in written:
        assert bool(FLOWER_WORDS.search(text)) == scene.has_flowers, text
        assert scene.subject in text.lower()
    assert len({text for _, text in written}) > 2000


def test_labels_are_canonical() -> None:
    assert label(Scene("castle", "night", False, 3)) == "a castle at night"
    assert label(Scene("castle", "night", True, 3)) == "a castle at night with flowers"
    assert len({label(scene) for scene in scenes(3000)}) == len(SUBJECTS) * len(PALETTES) * 2


def test_partial_captions_tell_no_lies() -> None:
    rng = Random(3)
    for scene in scenes(1000, seed=4):
        text, said = partial_caption(scene, rng)
        assert said.subject in (None, scene.subject)
        assert said.palette in (None, scene.palette)
        assert said.garden in (None, scene.garden)
        assert bool(said.flowers or said.subject == "flower") == bool(FLOWER_WORDS.search(text)), text


def test_scenes_are_spread_evenly() -> None:
    drawn = scenes(2000, seed=7)
    for names, attribute in ((SUBJECTS, "subject"), (PALETTES, "palette")):
        counts = [sum(getattr(scene, attribute) == name for scene in drawn) for name in names]
        assert min(counts) > 0.7 * len(drawn) / len(names)
    assert 0.35 < sum(scene.garden for scene in drawn) / len(drawn) < 0.45
