"""Every measure, by values that were computed by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visunex.evaluate.judges import wins_of
from visunex.evaluate.measures import interval, likeness, means_by, spread, to_set
from visunex.evaluate.summary import front_of
from visunex.generate import Taste

IMAGES = np.array([[3.0, 4.0], [0.0, 2.0]])  # at length 1: (0.6, 0.8) and (0, 1)


def test_the_taste_is_a_cosine_whatever_the_lengths() -> None:
    assert likeness(IMAGES, np.array([10.0, 0.0])).tolist() == pytest.approx([0.6, 0.0])


def test_the_prompt_kept_is_each_images_own_cosine() -> None:
    texts = np.array([[1.0, 0.0], [0.0, -5.0]])
    assert likeness(IMAGES, texts).tolist() == pytest.approx([0.6, -1.0])


def test_clip_i_is_the_mean_over_all_held_out_images() -> None:
    held_out = np.array([[1.0, 0.0], [0.0, 3.0]])  # cosines 0.6 and 0.8; 0 and 1
    assert to_set(IMAGES, held_out).tolist() == pytest.approx([0.7, 0.5])


def test_diversity_is_the_mean_distance_of_all_pairs() -> None:
    three = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # distances 1, 2 and 1
    found = spread(three)
    assert found.tolist() == pytest.approx([1.5, 1.0, 1.5])
    assert found.mean() == pytest.approx(4 / 3)
    assert np.isnan(spread(three[:1])).all()


def test_means_are_by_prompt_and_intervals_are_of_prompts() -> None:
    by_prompt = means_by(np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 2.0, 4.0]))
    assert by_prompt.tolist() == [0.5, 3.0]
    found = interval(by_prompt)
    # Two prompts drawn with replacement: 0.5, 1.75 or 3, the outer ones a quarter of the times each.
    assert found is not None
    assert (found.mean, found.low, found.high) == (1.75, 0.5, 3.0)
    assert interval(by_prompt) == found
    assert interval(np.array([np.nan])) is None
    one = interval(np.array([2.0]))
    assert one is not None
    assert (one.low, one.high) == (2.0, 2.0)


def test_the_front_is_what_nothing_beats_in_both() -> None:
    settings = [
        {"setting": name, "measures": {"taste": {"mean": [taste]}, "clip_t": {"mean": [prompt]}}}
        for name, taste, prompt in (("plain", 0.1, 0.9), ("good", 0.4, 0.8), ("worse", 0.3, 0.7))
    ]
    assert front_of(settings) == ["plain", "good"]


def vote(choice: str, left: dict[str, Any], right: dict[str, Any], prompt: str = "a castle") -> str:
    sides = {
        "left": {"about": {"prompt": prompt, **left}},
        "right": {"about": {"prompt": "a castle", **right}},
    }
    return json.dumps({"vote": 1, "choice": choice, **sides})


def test_votes_are_wins_of_settings(tmp_path: Path) -> None:
    taste = Taste("mine", np.array([3.0, 4.0]))
    plain = {"aesthetic_embedding": None, "aesthetic_sha256": None, "aesthetic_steps": 0}
    ten, twenty = (
        {"aesthetic_embedding": "mine", "aesthetic_sha256": taste.digest, "aesthetic_steps": steps}
        for steps in (10, 20)
    )
    other = {**ten, "aesthetic_sha256": "0" * 64}
    lines = [
        vote("left", ten, plain),
        vote("left", plain, ten),
        vote("same", ten, plain),
        vote("right", plain, twenty),
        vote("left", other, plain),
        vote("left", ten, plain, prompt="another"),
        vote("left", ten, ten),
        "{cut off",
        "[]",
    ]
    (tmp_path / "votes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    won = {name: values.tolist() for name, values in wins_of(tmp_path / "votes.jsonl", taste).items()}
    assert won == {"plain": [0.0, 1.0, 0.5, 0.0], "steer 10": [1.0, 0.0, 0.5], "steer 20": [1.0]}
