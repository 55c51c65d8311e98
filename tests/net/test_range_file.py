"""Files of which only ranges are read."""

from visunex.net.range_file import coalesced


def test_ranges_are_put_together_where_little_lies_between() -> None:
    assert coalesced([(0, 10), (10, 20), (25, 30), (50, 60)], gap=5) == [(0, 30), (50, 60)]
