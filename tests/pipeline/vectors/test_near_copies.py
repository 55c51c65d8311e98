"""Near copies are left out as a plain loop over all pairs would, in rank order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visunex.pipeline.vectors import near_copies as module
from visunex.pipeline.vectors.near_copies import KEPT, NOT_ADMITTED, NOT_REACHED, near_copies


def units(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def around(count: int, centres: int, spread: float, seed: int, dimension: int = 8) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((centres, dimension))[rng.integers(centres, size=count)]
    return units(rows + spread * rng.standard_normal((count, dimension)))


def brute_force(rows: NDArray[np.float32], threshold: float, wanted: int) -> list[int]:
    """One by one: the first kept vector that each is a copy of."""
    fate: list[int] = []
    kept: list[int] = []
    for place, row in enumerate(rows.astype(np.float64)):
        if len(kept) == wanted:
            fate.append(NOT_REACHED)
            continue
        copied = next((each for each in kept if rows[each].astype(np.float64) @ row >= threshold), KEPT)
        fate.append(copied)
        kept += [place] if copied == KEPT else []
    return fate


@given(
    count=st.integers(0, 60),
    spread=st.sampled_from([0.01, 0.1, 0.5]),
    threshold=st.sampled_from([0.5, 0.9, 0.95, 0.999]),
    wanted=st.integers(1, 70),
    seed=st.integers(0, 99),
    block=st.sampled_from([1, 7, 1024]),
)
def test_the_choice_is_that_of_a_plain_loop(
    count: int, spread: float, threshold: float, wanted: int, seed: int, block: int
) -> None:
    rows = around(count, 6, spread, seed) if count else np.zeros((0, 8), np.float32)
    before, module._BLOCK = module._BLOCK, block
    try:
        assert near_copies(rows, threshold, wanted).tolist() == brute_force(rows, threshold, wanted)
    finally:
        module._BLOCK = before


def test_cosines_at_the_threshold_do_not_depend_on_the_blocks() -> None:
    """Pairs whose cosine is the threshold but for the last digits of float32."""
    rows = around(400, 40, 0.05, 3, 768)
    pairs = (rows.astype(np.float64) @ rows.astype(np.float64).T)[np.triu_indices(400, 1)]
    for threshold in np.sort(pairs)[-2000::200]:
        cut = round(float(threshold), 8)
        assert near_copies(rows, cut).tolist() == brute_force(rows, cut, 400)


def test_those_that_are_not_admitted_make_room_and_hide_nobody() -> None:
    rows = np.repeat(units(np.eye(3, dtype=np.float64)), [2, 2, 1], axis=0)
    asked: list[int] = []

    def admits(place: int) -> bool:
        asked.append(place)
        return place != 2

    assert near_copies(rows, 0.9, admits=admits).tolist() == [KEPT, 0, NOT_ADMITTED, KEPT, KEPT]
    assert asked == [0, 2, 3, 4]
    assert near_copies(rows, 0.9, 2).tolist() == [KEPT, 0, KEPT, NOT_REACHED, NOT_REACHED]


def test_half_of_the_rows_are_near_copies_of_one() -> None:
    """100 of 200 pulled the mean to themselves: cosine 0.995 of the embedding to the copy."""
    rng = np.random.default_rng(0)
    picture, others = rng.standard_normal(768), rng.standard_normal((100, 768))
    copies = picture + 0.05 * rng.standard_normal((100, 768))
    rows = units(np.concatenate([copies, others]))[rng.permutation(200)]
    kept = rows[near_copies(rows, 0.95) == KEPT]
    assert len(kept) == 101
    mean = kept.mean(axis=0)
    assert mean @ units(picture[None])[0] / np.linalg.norm(mean) < 0.2
