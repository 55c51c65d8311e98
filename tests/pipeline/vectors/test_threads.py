"""Blocks worked on in threads: in order, few at a time, and an error of one ends it."""

import threading
from collections.abc import Iterator

import pytest

from visunex.pipeline.vectors.threads import in_threads


def test_results_come_in_the_order_of_the_blocks() -> None:
    assert list(in_threads(lambda number: number * 2, range(1000))) == list(range(0, 2000, 2))
    assert list(in_threads(str, [])) == []


def test_blocks_are_read_here_and_not_far_ahead() -> None:
    read: list[int] = []

    def blocks() -> Iterator[int]:
        for number in range(100_000):
            assert threading.current_thread() is threading.main_thread()
            read.append(number)
            yield number

    found = in_threads(lambda number: number, blocks())
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    assert len(read) <= 8 * 10
    found.close()


def test_what_fails_ends_it() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // (500 - number), range(1000)))
