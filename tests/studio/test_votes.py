"""Votes: fair pairs, lines that another program reads, and the taste that they make."""

import json
from pathlib import Path

import numpy as np
import pytest

from visunex.aesthetic_embeddings import load
from visunex.base.errors import UsageError
from visunex.studio.work.desk import Desk, lay_out
from visunex.studio.work.drawing import Artist, Form
from visunex.studio.work.liking import taste_of_drawn, taste_of_run
from visunex.studio.work.places import Places
from visunex.studio.work.votes import DRAWN, keep, pair_of_drawn, pair_of_run, votes_in


@pytest.fixture
def desk(here: Path) -> Desk:
    return lay_out("garden")


def lines() -> list[dict[str, object]]:
    return [json.loads(line) for line in Path("votes/votes.jsonl").read_text(encoding="utf-8").splitlines()]


def test_pairs_are_drawn_by_a_lot_that_is_kept(desk: Desk) -> None:
    pairs = [pair_of_run(desk, number, 1, 3) for number in range(40)]
    assert pairs == [pair_of_run(desk, number, 1, 3) for number in range(40)]
    assert pairs != [pair_of_run(desk, number, 2, 3) for number in range(40)]
    assert {pair.swapped for pair in pairs} == {True, False}
    assert all(pair.left.image != pair.right.image for pair in pairs)
    assert len({pair.left.image for pair in pairs}) > 15
    assert pairs[0].left.shown.startswith("/visunex/thumb/3/")


def test_an_answer_is_a_line_of_json(desk: Desk) -> None:
    pair = pair_of_run(desk, 0, 1, 1)
    assert keep(Places(), pair, "left") == 1
    assert keep(Places(), pair, "same") == 2
    first, second = lines()
    assert (first["vote"], first["source"], first["choice"]) == (1, "garden", "left")
    assert (first["seed"], first["pair"], first["swapped"]) == (1, 0, pair.swapped)
    assert first["question"] == "Which do you like more?"
    assert first["left"] == {"image": pair.left.image, "sha256": None, "about": dict(pair.left.about)}
    assert second["choice"] == "same"
    with pytest.raises(UsageError, match="left, right, same"):
        keep(Places(), pair, "both")  # type: ignore[arg-type]


def test_lines_that_are_no_votes_are_left_out(desk: Desk) -> None:
    keep(Places(), pair_of_run(desk, 0, 1, 1), "left")
    path = Path("votes/votes.jsonl")
    whole = path.read_bytes()
    odd = [
        b"",
        b"{}",
        b"[1]",
        b'{"vote": 2}',
        b'{"vote": 1, "choice": "left", "left": 1}',
        b"\xff\xfe",
        b"[" * 9999,
    ]
    path.write_bytes(b"\n".join([*odd, whole.strip(), whole[:50]]))
    (found,) = votes_in(Places())
    assert found.liked is not None
    assert votes_in(Places(), "other") == []


def test_the_taste_of_a_run_is_the_mean_of_liked_minus_that_of_disliked(desk: Desk) -> None:
    units = {each.key: unit for each, unit in zip(desk.images, desk.units, strict=True)}
    liked, disliked = [], []
    for number in range(6):
        pair = pair_of_run(desk, number, 1, 1)
        keep(Places(), pair, "right" if number else "same")
        if number:
            liked.append(units[pair.right.image])
            disliked.append(units[pair.left.image])
    made = taste_of_run(Places(), "likes", desk)
    assert made.path == Path("tastes/likes.pt")
    expected = np.mean(liked, axis=0, dtype=np.float64) - np.mean(disliked, axis=0, dtype=np.float64)
    assert made.vector[0] == pytest.approx(expected, abs=1e-6)
    noted = load("tastes/likes.pt").provenance or {}
    assert (noted["reduction"], noted["votes"]["votes"]) == ("contrast", 5)
    assert noted["model"]["name"] == "visunex-tiny"


def test_without_votes_there_is_no_taste(desk: Desk) -> None:
    keep(Places(), pair_of_run(desk, 0, 1, 1), "same")
    with pytest.raises(UsageError, match="no vote yet"):
        taste_of_run(Places(), "likes", desk)
    with pytest.raises(UsageError, match="no vote yet"):
        taste_of_drawn(Places(), "likes", "visunex-tiny")


def test_drawn_pictures_are_compared_where_only_the_taste_differs(here: Path) -> None:
    places, artist = Places(), Artist()
    with pytest.raises(UsageError, match="draw some pictures first"):
        pair_of_drawn(places, 0, 1)
    for prompt in ("a castle", "a ship"):
        asked = Form(prompt=prompt, model="visunex-tiny", taste="garden", steps=5, sampler_steps=3)
        for _ in range(2):  # the same ones again make no pair with themselves
            list(artist.draw(asked, places))
    pairs = [pair_of_drawn(places, number, 1) for number in range(2)]
    assert {pair.left.about["prompt"] for pair in pairs} == {"a castle", "a ship"}
    for number, pair in enumerate(pairs):
        steps = {pair.left.about["aesthetic_steps"], pair.right.about["aesthetic_steps"]}
        assert steps == {0, 5}
        assert pair.left.about["prompt"] == pair.right.about["prompt"]
        liked_left = pair.left.about["aesthetic_steps"] == 5
        keep(places, pair, "left" if liked_left else "right")
        assert len(votes_in(places, DRAWN)) == number + 1
    made = taste_of_drawn(places, "likes", "visunex-tiny")
    assert made.dimension == 768
    assert (made.provenance or {})["votes"]["votes"] == 2
    for path in Path("outputs/samples").glob("*.png"):
        path.write_bytes(b"changed since")
    with pytest.raises(UsageError, match="still there"):
        taste_of_drawn(places, "more", "visunex-tiny")
