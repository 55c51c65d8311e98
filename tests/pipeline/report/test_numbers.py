"""The numbers of a page, against plain ways to count them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visunex.pipeline.report.numbers import alike, convergence, histogram


def units(count: int, seed: int = 0, common: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, 32)) + common * rng.standard_normal(32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_mean_of_the_first_n_against_that_of_all() -> None:
    rows = units(500)
    found = convergence(rows)
    assert found is not None
    final = rows.mean(axis=0)
    for count, cosine in zip(found.counts, found.first, strict=True):
        mean = rows[:count].mean(axis=0)
        plain = mean @ final / np.linalg.norm(mean) / np.linalg.norm(final)
        assert abs(plain - cosine) < 1e-5
    assert (found.counts[0], found.counts[-1], round(found.first[-1], 6)) == (1, 500, 1)
    assert all(low <= high for low, high in zip(found.low, found.high, strict=True))


def test_a_narrow_taste_settles_before_a_wide_one() -> None:
    narrow, wide = (convergence(units(600, common=common)) for common in (4.0, 0.5))
    assert narrow is not None
    assert wide is not None
    assert narrow.enough is not None
    assert narrow.enough < (wide.enough or 10**9)
    assert convergence(units(3)) is None


@given(st.integers(0, 40), st.integers(0, 5), st.integers(0, 1000))
def test_pairs_that_are_alike(count: int, most: int, seed: int) -> None:
    rows = units(count, seed)
    found = alike(rows, most)
    places = [place for i, j, _ in found for place in (i, j)]
    assert len(places) == len(set(places))
    assert len(found) == min(most, len(found))
    assert [each[2] for each in found] == sorted((each[2] for each in found), reverse=True)
    if count > 1 and most:
        cosines = rows @ rows.T - 3 * np.eye(count)
        assert abs(found[0][2] - cosines.max()) < 1e-5
        assert all(i < j for i, j, _ in found)


def test_histograms_leave_out_what_is_no_number() -> None:
    shown = histogram([1.0, 2.0, None, float("nan"), 3.0, float("inf")], [3.0, None])
    assert shown is not None
    assert (sum(shown.all), sum(shown.chosen), shown.edges[0], shown.edges[-1]) == (3, 1, 1.0, 3.0)
    assert histogram([None], []) is None
    one = histogram([5.0, 5.0], [5.0])
    assert one is not None
    assert (one.all, one.chosen) == ((2,), (1,))
