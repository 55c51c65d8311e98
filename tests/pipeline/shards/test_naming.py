"""The names of shards and keys of rows."""

from pathlib import Path

from visunex.pipeline.shards.naming import (
    SHARD_FILES,
    key_digits,
    row_key,
    shard_name,
    shard_number,
    stats_of,
    tars_marked_done,
)


def test_a_shard_and_its_number() -> None:
    assert shard_name(12) == "00012"
    assert shard_number("00012") == 12
    assert shard_number("mine") is None


def test_the_keys_of_a_shard_begin_with_its_name() -> None:
    for size in (10, 100, 1000):
        for shard in (0, 3):
            assert {row_key(shard * size + row, size)[:5] for row in range(size)} == {shard_name(shard)}
    assert (key_digits(10), row_key(3, 10)) == (6, "000003")
    assert (key_digits(1000), row_key(3, 1000)) == (8, "00000003")


def test_shards_are_known_by_what_marks_them_done(tmp_path: Path) -> None:
    for name in ("00001", "00000"):
        for kind in SHARD_FILES:
            (tmp_path / f"{name}{kind}").touch()
    (tmp_path / "00002.tar").touch()
    tars = list(tars_marked_done(tmp_path))
    assert tars == [tmp_path / "00000.tar", tmp_path / "00001.tar"]
    assert stats_of(tars[0]) == tmp_path / "00000_stats.json"
