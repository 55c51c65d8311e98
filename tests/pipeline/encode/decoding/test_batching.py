"""Batches are assembled before they are asked for, and what goes wrong on the way is raised."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from visunex.clip.preprocess import Seen
from visunex.pipeline.encode.decoding.batching import Batch, Taker, prefetch, rounds
from visunex.pipeline.encode.decoding.decode_pool import Decoded, Ways
from visunex.pipeline.shards.samples import Sample


def sample(number: int) -> Sample:
    return Sample(str(number), f"{number}.jpg", Path("x.tar"), 0, 1)


def decoded(count: int) -> Iterator[Decoded]:
    """Pictures of one pixel, every third broken."""
    for number in range(count):
        seen = None if number % 3 == 0 else Seen(np.full((1, 1, 3), number, np.uint8), (1, 1))
        yield Decoded(sample(number), seen, "" if seen else "damaged")


def stage(pictures: list[Seen]) -> torch.Tensor:
    return torch.tensor([int(each.pixels[0, 0, 0]) for each in pictures])


def batches(images: Iterator[Decoded], count: int, size: int, least: int = 1) -> Iterator[Batch]:
    """The batches of one encoder that takes every picture."""
    ways: Iterator[Ways] = ({0: each} for each in images)
    for each in rounds(ways, count, size, [Taker(lambda _: True, 0, stage)], least):
        (batch,) = each.batches
        assert len(batch) == each.images
        yield batch


def test_batches_hold_every_picture_in_order() -> None:
    made = list(batches(decoded(10), 10, 4))
    assert [len(batch) for batch in made] == [4, 4, 2]
    for batch in made:
        assert batch.staged is not None
        assert batch.staged.tolist() == [int(each.key) for each in batch.samples]
    assert [each.key for batch in made for each, _ in batch.failed] == ["0", "3", "6", "9"]
    assert {reason for batch in made for _, reason in batch.failed} == {"damaged"}


def test_no_batch_is_smaller_than_wanted() -> None:
    made = list(batches(decoded(10), 10, 4, least=3))
    assert [len(batch) for batch in made] == [4, 6]
    assert [[] if batch.staged is None else batch.staged.tolist() for batch in made] == [
        [1, 2, 2],
        [4, 5, 7, 8],
    ]
    assert [len(batch) for batch in batches(decoded(11), 11, 4, least=3)] == [4, 4, 3]
    (few,) = batches(decoded(2), 2, 4, least=3)
    assert few.staged is not None
    assert (few.staged.tolist(), len(few.samples)) == ([1, 1, 1], 1)


def test_a_batch_of_nothing_but_failures_goes_to_no_tower() -> None:
    (batch,) = batches(iter([Decoded(sample(1), None, "empty")]), 1, 4)
    assert (batch.staged, len(batch)) == (None, 1)


def test_each_encoder_has_its_own_pictures_and_those_in_common_are_staged_once() -> None:
    staged: list[list[int]] = []

    def noted(pictures: list[Seen]) -> torch.Tensor:
        staged.append(stage(pictures).tolist())
        return stage(pictures)

    ways: Iterator[Ways] = ({0: each, 1: each} for each in decoded(6))
    takers = [Taker(lambda _: True, 0, noted), Taker(lambda _: True, 0, noted)]
    takers += [Taker(lambda each: each.key in "245", 1, noted)]
    (only,) = rounds(ways, 6, 6, takers, least=2)
    assert staged == [[1, 2, 4, 5], [2, 4, 5]]
    assert only.batches[0].staged is only.batches[1].staged
    assert [each.key for each in only.batches[2].samples] == ["2", "4", "5"]
    assert [len(each) for each in only.batches] == [6, 6, 3]


def test_the_next_item_is_made_while_the_last_is_used() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    stream = prefetch(items())
    assert next(stream) == 0
    assert made[1].wait(10)
    assert list(stream) == [1, 2, 3]


def test_what_goes_wrong_while_assembling_is_raised_after_what_was_made() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    stream = prefetch(items())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        next(stream)


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    stream = prefetch(iter(range(1000)))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
