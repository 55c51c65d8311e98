"""Reductions: against plain formulas, independent of order and batches, LAION's contrast reproduced."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import EmbeddingError, load, reduce
from visunex.aesthetic_embeddings.reduction import How

HOWS: tuple[How, ...] = ("mean", "unit-mean", "score-weighted", "score-contrast", "median", "contrast")


def vectors(count: int, dimension: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Image-like vectors: a common direction plus a spread, norms near 15."""
    random = np.random.default_rng(seed)
    return (random.normal(size=(count, dimension)) * 3 + 5).astype(np.float32)


def units(rows: NDArray[Any]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def reduced(rows: NDArray[Any], how: How, cuts: int = 1, scores: Any = None) -> NDArray[np.float32]:
    options: dict[str, Any] = {}
    if how == "contrast":
        options["baseline"] = [vectors(7, rows.shape[1], seed=9)]
    if how in ("score-weighted", "score-contrast"):
        options["scores"] = np.arange(len(rows)) if scores is None else scores
    return reduce(np.array_split(rows, cuts), how, **options)


def test_mean_and_unit_mean_are_what_they_say() -> None:
    rows = vectors(50)
    assert np.array_equal(reduced(rows, "mean")[0], rows.astype(np.float64).mean(axis=0).astype(np.float32))
    mean = units(rows).mean(axis=0)
    assert np.allclose(reduced(rows, "unit-mean")[0], mean / np.linalg.norm(mean), atol=1e-7)


def test_scores_weigh_by_their_height_above_the_lowest() -> None:
    rows, scores = vectors(3), [6.5, 7.0, 8.5]
    expected = 0.5 * units(rows)[1] + 2 * units(rows)[2]
    result = reduced(rows, "score-weighted", scores=scores)
    assert np.allclose(result[0], expected / np.linalg.norm(expected), atol=1e-7)
    assert np.array_equal(reduced(rows, "score-weighted", scores=[5, 5, 5]), reduced(rows, "unit-mean"))
    assert np.array_equal(reduced(rows, "score-weighted", scores=np.multiply(scores, 4) - 9), result)


def test_scores_pull_and_push_by_their_distance_from_their_mean() -> None:
    rows, scores = vectors(4), [1.0, 2.0, 4.0, 5.0]
    expected = np.array([-2, -1, 1, 2]) @ units(rows)
    result = reduced(rows, "score-contrast", scores=scores)
    assert np.allclose(result[0], expected / np.linalg.norm(expected), atol=1e-6)
    against = reduce([units(rows)[:2]], "contrast", baseline=[units(rows)[2:]])[0]
    halves = reduced(rows, "score-contrast", scores=[1, 1, 0, 0])[0]
    assert np.allclose(halves, against / np.linalg.norm(against), atol=1e-6)


def test_the_median_is_where_the_sum_of_distances_is_least() -> None:
    rows = vectors(31, 5)
    from visunex.aesthetic_embeddings.reduction import geometric_median

    points = units(rows)
    median = geometric_median([points[:20], points[20:]])

    def total(point: NDArray[np.float64]) -> float:
        return float(np.linalg.norm(points - point, axis=1).sum())

    random = np.random.default_rng(1)
    for _ in range(200):
        assert total(median) <= total(median + random.normal(size=5) * 10.0 ** random.uniform(-6, 0)) + 1e-12


def test_the_median_is_not_dragged_away_nor_stuck_on_a_vector() -> None:
    from visunex.aesthetic_embeddings.reduction import geometric_median

    # The mean is exactly the vector 0, which is not the median: three of seven lie together at 4.
    line = np.array([[-3.0], [-3.0], [-6.0], [0.0], [4.0], [4.0], [4.0]])
    assert geometric_median([line])[0] == pytest.approx(0, abs=1e-6)  # middle one of seven on a line
    assert geometric_median([line[3:]])[0] == pytest.approx(4, abs=1e-6)
    assert geometric_median([np.ones((3, 2))]) == pytest.approx([1, 1])
    crowd = np.vstack([np.tile(vectors(1), (60, 1)), -40 * vectors(40, seed=3)])
    direction = reduced(crowd, "median")
    assert float(direction[0] @ units(vectors(1))[0]) > 0.999


@pytest.mark.parametrize("how", HOWS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 300), cuts=st.integers(1, 20))
def test_order_and_batches_change_no_bit(how: How, seed: int, count: int, cuts: int) -> None:
    rows = vectors(count, 24, seed)
    order = np.random.default_rng(seed).permutation(count)
    whole = reduced(rows, how, 1, np.arange(count))
    assert np.array_equal(reduced(rows[order], how, cuts, np.arange(count)[order]), whole)


def test_sums_hold_where_plain_float64_does_not() -> None:
    rows = np.array([[1e16, 1.0], [1.0, 1.0], [-1e16, 1.0]])
    assert reduce([rows], "mean")[0].tolist() == pytest.approx([1 / 3, 1.0])
    assert reduce(list(rows), "mean")[0].tolist() == pytest.approx([1 / 3, 1.0])


def test_the_contrast_of_laions_rating_vectors_is_the_published_one(reference: Any) -> None:
    folder = reference / "laion_ratings_vit_l_14"
    ratings = [np.load(folder / f"rating{index}.npy") for index in range(10)]
    published = load(reference / "aesthetic_embeddings" / "laion_7plus.pt")
    plain = torch.from_numpy(np.concatenate(ratings))
    assert torch.equal(plain[7:10].mean(0) - plain[1:4].mean(0), published.tensor()[0])
    ours = reduce(ratings[7:10], "contrast", baseline=ratings[1:4])
    assert np.abs(ours - published.vector).max() <= 2e-8


@pytest.mark.parametrize(
    ("given", "how", "options", "sentence"),
    [
        ([], "mean", {}, "no vectors"),
        ([np.ones((0, 4))], "unit-mean", {}, "no vectors"),
        ([np.full((1, 4), np.nan)], "mean", {}, "NaN"),
        ([np.zeros((1, 4))], "unit-mean", {}, "all zeros"),
        ([[1.0, 0.0], [-1.0, 0.0]], "unit-mean", {}, "cancel"),
        ([np.ones((2, 4))], "contrast", {}, "baseline"),
        ([np.ones((2, 4))], "mean", {"baseline": [np.ones(4)]}, "baseline"),
        ([np.ones((2, 4))], "contrast", {"baseline": [np.ones((2, 5))]}, "same image tower"),
        ([np.ones((2, 4))], "contrast", {"baseline": [np.ones((3, 4))]}, "cancel"),
        ([np.ones((2, 4))], "score-weighted", {}, "needs a score"),
        ([np.ones((2, 4))], "score-contrast", {"scores": [2.0, 2.0]}, "all are equal"),
        ([np.ones((2, 4))], "score-weighted", {"scores": [1.0, np.nan]}, "1 of 2 have none"),
        ([np.ones((2, 4))], "score-weighted", {"scores": [1.0]}, "not the number of vectors"),
        ([np.ones((2, 4))], "score-weighted", {"scores": [1.0, 2.0, 3.0]}, "not the number of vectors"),
    ],
)
def test_what_cannot_be_reduced_is_refused(
    given: Any, how: How, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(EmbeddingError, match=sentence):
        reduce(given, how, **options)


def test_the_median_refuses_an_iterator_that_would_run_dry() -> None:
    def once() -> Iterator[NDArray[np.float32]]:
        yield vectors(3)

    with pytest.raises(EmbeddingError, match="several times"):
        reduce(once(), "median")
