"""Texts and the images they name have vectors that lie near each other."""

import numpy as np
from encoding import cosines

from visunex.clip.factory import load_image_encoder, load_text_encoder
from visunex.demo import TINY_MODEL


def test_words_lie_near_the_pictures_they_name() -> None:
    from random import Random

    from visunex.demo.scenes import label, random_scene, render

    rng = Random("pictures and their names")
    scenes = [random_scene(rng) for _ in range(20)]
    tower, words = load_image_encoder(TINY_MODEL, precision="fp32"), load_text_encoder(TINY_MODEL)
    pixels = np.stack([tower.preprocessing.square(render(scene)) for scene in scenes])
    vectors = words.encode([label(scene) for scene in scenes])
    assert (vectors.shape, vectors.dtype) == ((20, 768), np.float32)
    right = cosines(tower.encode(pixels), vectors)
    wrong = cosines(tower.encode(pixels), np.roll(vectors, 1, axis=0))
    assert right.mean() > wrong.mean() + 0.1
