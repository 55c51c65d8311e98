"""Several tastes, and how one is used: each against what it says, on a small pipeline."""

import pytest
import torch
from small_pipelines import a_projection, a_vector, sd1_pipe
from torch import Tensor
from torch.nn.functional import normalize

from visunex.generate import Controls, Steering, Taste, steered
from visunex.generate.controls import ControlsError
from visunex.generate.errors import SteeringError
from visunex.generate.steering.goal import slerp, turned

PROJECTION, LR = a_projection(32, 24), 1e-3


@pytest.fixture(scope="module")
def pipe(words):
    return sd1_pipe(words())


def states(pipe, targets, **how) -> Tensor:
    options = {"steps": 4, "lr": LR, "text_projection": PROJECTION} | how
    return steered(pipe, "a castle", targets, **options)["prompt_embeds"]


def cosines(pipe, targets, **how) -> list[float]:
    """The cosine before each step."""
    seen: list[float] = []
    states(pipe, targets, on_step=lambda _, cosine: seen.append(cosine), **how)
    return seen


def test_several_tastes_are_climbed_as_their_weighted_sum_of_directions(pipe):
    one, other = a_vector(24), a_vector(24, 7)
    mixed = 0.7 * normalize(one, dim=-1) - 0.3 * normalize(other, dim=-1)
    both = states(pipe, [(one, 0.7), (other * 5, -0.3)])
    assert (both - states(pipe, mixed)).abs().max() < 1e-4
    assert torch.equal(states(pipe, {"text_encoder": [(one, 2.0)]}), states(pipe, [(one, 2.0)]))
    value, *_ = cosines(pipe, [(one, 0.7), (other, -0.3)])
    alone = [cosines(pipe, vector)[0] for vector in (one, other)]
    assert value == pytest.approx(0.7 * alone[0] - 0.3 * alone[1], abs=1e-5)


def test_a_negative_taste_is_moved_away_from(pipe):
    climbed = cosines(pipe, [(a_vector(24), -1.0)])
    assert climbed == sorted(climbed)
    assert climbed[0] == pytest.approx(-cosines(pipe, a_vector(24))[0], abs=1e-6)


def test_of_a_taste_of_several_vectors_the_nearest_counts(pipe):
    vectors = torch.cat([a_vector(24), a_vector(24, 7), a_vector(24, 8)])
    alone = [cosines(pipe, vector)[0] for vector in vectors]
    nearest = int(torch.tensor(alone).argmax())
    group = Taste("groups", vectors)
    assert cosines(pipe, group)[0] == pytest.approx(max(alone), abs=1e-6)
    assert (states(pipe, group, steps=1) - states(pipe, vectors[nearest], steps=1)).abs().max() < 1e-5


def test_tastes_that_cancel_one_another_out_are_refused(pipe):
    with pytest.raises(SteeringError, match="cancel one another out"):
        states(pipe, [(a_vector(24), 1.0), (a_vector(24) * 3, -1.0)])


@pytest.mark.parametrize("until", ["+0.02", "+0.06", None])
def test_steps_end_between_the_cosine_and_one_step_more(pipe, until):
    path = cosines(pipe, a_vector(24), steps=60)
    goal = path[0] + float(until or 0.04)
    until = until or goal  # a cosine itself
    taken = next(step for step, cosine in enumerate(path) if cosine >= goal)
    assert path[taken - 1] < goal <= path[taken]
    assert torch.equal(states(pipe, a_vector(24), until=until), states(pipe, a_vector(24), steps=taken))


def test_a_cosine_that_is_out_of_reach_is_said(pipe, caplog):
    states(pipe, a_vector(24), until=1.0, lr=1e-6)
    assert "200 steps of 1e-06 bring 'a castle' to a cosine of" in caplog.text


def test_blends_go_from_the_plain_states_to_the_moved_ones(pipe):
    plain, moved = states(pipe, a_vector(24), steps=0), states(pipe, a_vector(24))
    assert torch.equal(states(pipe, a_vector(24), blend=0), plain)
    assert torch.equal(states(pipe, a_vector(24), blend=0, slerp=True), plain)
    half = states(pipe, a_vector(24), blend=0.5)
    assert torch.allclose(half, (plain + moved) / 2, atol=1e-6)
    arc = states(pipe, a_vector(24), blend=0.5, slerp=True)
    lengths = (plain.norm(dim=-1) + moved.norm(dim=-1)) / 2
    assert torch.allclose(arc.norm(dim=-1), lengths, atol=1e-5)


def test_a_text_turns_the_taste_towards_itself_or_away(pipe):
    taste, text = a_vector(24), {"text": "a dog"}
    for angle, away in ((0.0, False), (0.0, True)):
        none = states(pipe, taste, text_angle=angle, text_negative=away, **text)
        assert torch.equal(none, states(pipe, taste))
    direct = a_vector(24, 9)
    for share in (0.25, 1.0):
        there = turned(taste, direct, share)
        whole = torch.acos((normalize(taste, dim=-1) * normalize(direct, dim=-1)).sum())
        part = torch.acos((normalize(taste, dim=-1) * there).sum())
        assert float(part) == pytest.approx(share * float(whole), abs=1e-4)
    off = turned(taste, direct, 0.5, away=True)
    near = float((normalize(taste, dim=-1) * normalize(direct, dim=-1)).sum())
    assert float((off * normalize(direct, dim=-1)).sum()) < near
    assert not torch.equal(states(pipe, taste, **text), states(pipe, taste, text_negative=True, **text))


def test_arcs_without_an_angle_are_lines():
    start = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    end = torch.tensor([[3.0, 0.0], [-2.0, 0.0], [0.0, 4.0]])
    assert torch.allclose(slerp(start, end, 0.5), torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 2.0]]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"blend": 2}, "blend is 2"),
        ({"until": "soon"}, "until is str 'soon'"),
        ({"until": "+3"}, "until is str"),
        ({"until": float("nan")}, "until is"),
        ({"begin": 0.7, "end": 0.2}, "begin 0.7 is behind end 0.2"),
        ({"text": 3}, "text is int 3"),
        ({"slerp": "yes"}, "slerp is str 'yes'"),
    ],
)
def test_controls_that_make_no_sense_are_named(given, said):
    with pytest.raises(ControlsError, match=said.replace("+", r"\+")):
        Controls(**given)


@pytest.mark.parametrize("tastes", [(), ((Taste("x", a_vector(24)), 0.0),), (("x", 1.0),), "x"])
def test_tastes_without_a_weight_are_named(tastes):
    with pytest.raises(ControlsError):
        Steering(tastes)
