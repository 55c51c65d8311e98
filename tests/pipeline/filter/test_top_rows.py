"""The best rows of a stream, whatever the order and the batches they arrive in."""

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex.pipeline.filter import top_rows as selection


@settings(max_examples=200, deadline=None)
@given(
    data=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 1.0, 2.0, 3.0])), max_size=30),
    cuts=st.lists(st.integers(1, 5), min_size=30, max_size=30),
    count=st.integers(1, 5),
    shuffle=st.randoms(),
)
def test_how_rows_arrive_makes_no_difference(data: Any, cuts: Any, count: int, shuffle: Any) -> None:
    """The selection settles after every few rows, in any order, as it does with millions."""

    def selected(arrival: list[Any]) -> tuple[Any, ...]:
        chosen = selection.Selection(count, "url")
        pieces = iter(cuts)
        while arrival:
            size = next(pieces)
            head, arrival = arrival[:size], arrival[size:]
            columns = {"url": [url for url, _ in head], "score": [score for _, score in head]}
            kinds = {"url": pl.String, "caption": pl.String, "score": pl.Float64, "width": pl.Int64}
            empty = dict.fromkeys(["caption", "width", "height"], [None] * len(head))
            frame = pl.DataFrame({**empty, **columns}, schema_overrides=kinds)
            chosen.add(frame.select(selection.CANONICAL))
            if shuffle.random() < 0.5:
                chosen.rows()
        kept = chosen.rows()
        return (None if kept is None else kept.rows()), chosen.left_out()

    shuffled = list(data)
    shuffle.shuffle(shuffled)
    assert selected(shuffled) == selected(sorted(data, key=str))
