"""Which pictures are chosen, and how many candidates a round tries."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex.pipeline.download.choose import Result, choose, round_size


def downloaded(rank: int, sha256: str = "", dhash: int | None = None, url: str = "") -> Result:
    return Result(rank, url or f"http://a/{rank}", "success", None, sha256 or f"file {rank}", dhash)


def failed(rank: int, message: str = "http_404: gone") -> Result:
    return Result(rank, f"http://a/{rank}", "failed_to_download", message, None, None)


def test_the_best_are_chosen_and_the_rest_are_spare() -> None:
    results = [downloaded(0), failed(1), downloaded(2), downloaded(3)]
    assert choose(results, 2) == {0: "chosen", 2: "chosen", 3: "spare"}


def test_a_message_has_its_kind() -> None:
    assert failed(0).error_kind == "http_404"
    assert downloaded(0).error_kind is None


def test_of_the_same_file_the_best_counts() -> None:
    results = [downloaded(0, "x"), downloaded(1), downloaded(2, "x"), downloaded(3)]
    assert choose(results, 3) == {0: "chosen", 1: "chosen", 2: "duplicate", 3: "chosen"}
    assert choose(results, 3, "none")[2] == "chosen"


def test_the_same_file_at_three_addresses_is_a_placeholder() -> None:
    results = [downloaded(0, "x"), downloaded(1, "x"), downloaded(2, "x"), downloaded(3)]
    assert choose(results, 2) == {0: "placeholder", 1: "placeholder", 2: "placeholder", 3: "chosen"}
    kept = choose(results, 2, keep_placeholders=True)
    assert kept == {0: "chosen", 1: "duplicate", 2: "duplicate", 3: "chosen"}


def test_the_same_address_three_times_is_none() -> None:
    results = [downloaded(rank, "x", url="http://a/x") for rank in range(3)]
    assert choose(results, 3) == {0: "chosen", 1: "duplicate", 2: "duplicate"}


@given(
    values=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20),
    flips=st.lists(st.tuples(st.integers(0, 19), st.sets(st.integers(0, 63), max_size=8)), max_size=20),
)
@settings(deadline=None)
def test_near_duplicates_are_found_as_by_comparing_all_with_all(
    values: list[int], flips: list[tuple[int, set[int]]]
) -> None:
    hashes = values + [values[n % len(values)] ^ sum(1 << bit for bit in bits) for n, bits in flips]
    results = [downloaded(rank, dhash=value) for rank, value in enumerate(hashes)]
    expected, kept = {}, list[int]()
    for rank, value in enumerate(hashes):
        near = any((value ^ other).bit_count() <= 4 for other in kept)
        expected[rank] = "near_duplicate" if near else "chosen"
        if not near:
            kept.append(value)
    assert choose(results, len(hashes), "near") == expected


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 30))
@settings(deadline=None)
def test_every_downloaded_image_has_one_status(successes: list[bool], target: int) -> None:
    results = [downloaded(rank) if ok else failed(rank) for rank, ok in enumerate(successes)]
    statuses = choose(results, target)
    assert set(statuses) == {rank for rank, ok in enumerate(successes) if ok}
    assert list(statuses.values()).count("chosen") == min(target, sum(successes))


@pytest.mark.parametrize(
    ("target", "good", "tried", "expected"),
    [(600, 0, 0, 1000), (100, 50, 100, 100), (100, 99, 100, 2), (100, 0, 1000, 2000), (100, 100, 100, 1)],
)
def test_rounds_are_sized_from_the_success_rate(target: int, good: int, tried: int, expected: int) -> None:
    assert round_size(target, good, tried) == expected


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6, 0.95])
def test_few_rounds_and_little_waste(rate: float) -> None:
    rng = random.Random(0)
    good = tried = rounds = 0
    while good < 2000:
        step = round_size(2000, good, tried)
        good += sum(rng.random() < rate for _ in range(step))
        tried += step
        rounds += 1
    assert rounds <= 8
    assert tried <= max(2000 / rate * 1.1, 2000 / 0.6 + 1)
