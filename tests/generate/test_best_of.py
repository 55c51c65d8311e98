"""The best of several pictures."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visunex.aesthetic_embeddings import save
from visunex.clip import load_image_encoder
from visunex.demo.scenes import Scene, render
from visunex.generate import Settings
from visunex.generate.best_of import Nearness, candidates, nearest_of
from visunex.pipeline.curate.rank import rank

COSINES = st.lists(st.sampled_from([-0.5, 0.0, 0.25, 0.5]), min_size=1, max_size=24)


@given(COSINES, st.integers(1, 5), st.integers(1, 5))
def test_the_choice_is_that_of_trying_all_however_they_come(cosines, count, size):
    cosines = cosines[: len(cosines) // count * count]
    batches = [list(range(len(cosines)))[at : at + size] for at in range(0, len(cosines), size)]
    found = list(nearest_of(batches, lambda batch: [cosines[place] for place in batch], count))
    groups = [cosines[at : at + count] for at in range(0, len(cosines), count)]
    assert [each for chosen in found for each in chosen] == [
        (number * count + group.index(max(group)), tuple(group)) for number, group in enumerate(groups)
    ]
    for batch, chosen in zip(batches, found, strict=True):  # as soon as they can be told
        assert all(place // count * count + count - 1 in batch for place, _ in chosen)


def test_one_prompt_is_drawn_so_many_times_a_list_each_so_often():
    settings = Settings(samples=2, iterations=3)
    assert candidates("a", settings, 4) == ("a", Settings(samples=2, iterations=12))
    assert candidates(("a", "b"), settings, 2) == (("a", "a", "b", "b"), settings)
    assert candidates("a", settings, 1) == ("a", settings)


@pytest.mark.parametrize("size", [64, 150])
def test_cosines_are_those_by_which_files_are_ranked(tmp_path, size):
    vector = np.random.default_rng(1).normal(size=768).astype("f4")
    save(tmp_path / "taste.pt", vector, {"model": {"name": "visunex-tiny"}})
    images = [
        render(Scene(subject, "day", garden=False, seed=1), size) for subject in ("ship", "tree", "moon")
    ]
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(images):
        image.save(tmp_path / "pictures" / f"{number}.png")
    found = Nearness(load_image_encoder("visunex-tiny", device="cpu"), vector).of(images)
    ranked = rank(str(tmp_path / "pictures"), str(tmp_path / "taste.pt"), 9, device="cpu").rows
    assert {Path(row["image_path"]).stem: pytest.approx(row["cosine"], abs=1e-6) for row in ranked} == {
        str(number): cosine for number, cosine in enumerate(found)
    }
