"""Rows are written in their order, whatever order they come in, and few images wait in memory for it."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from visunex.pipeline.download import shard_writer
from visunex.pipeline.download.shard_writer import OrderedWriter

FIRST = 30  # the shard is the fourth of ten rows each


class Recorder:
    """A writer that remembers what it was given, and fails at the key `fails_at`."""

    def __init__(self, fails_at: str = "") -> None:
        self.rows: list[tuple[str, bytes | None]] = []
        self.fails_at, self.closed = fails_at, False

    def write(self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        if key == self.fails_at:
            raise OSError(28, "No space left on device")
        self.rows.append((key, img_str))

    def close(self) -> None:
        self.closed = True


def image(row: int) -> bytes | None:
    return None if row == 2 else bytes([row]) * (10 + row)


def write(writer: OrderedWriter, row: int) -> None:
    meta = {"error_message": None if image(row) else "http_404: gone"}
    writer.write(image(row), f"{FIRST + row:06d}", None, meta)


@pytest.mark.parametrize("held", [0, 25, 10**6])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
def test_any_order_of_answers_is_the_order_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...], held: int
) -> None:
    """With little memory for those that wait, they wait on disk."""
    monkeypatch.setattr(shard_writer, "_HELD_IN_MEMORY", held)
    below, told = Recorder(), list[tuple[int, str | None, int]]()
    writer = OrderedWriter(below, tmp_path, FIRST, lambda row, size: told.append((row.row, row.error, size)))
    for row in order:
        write(writer, row)
    writer.close()
    assert below.rows == [(f"{FIRST + row:06d}", image(row)) for row in range(4)]
    assert below.closed
    assert sorted(told) == [(0, None, 10), (1, None, 11), (2, "http_404: gone", 0), (3, None, 13)]
    assert list(tmp_path.iterdir()) == []


def test_images_that_waited_make_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "_HELD_IN_MEMORY", 15)
    writer = OrderedWriter(Recorder(), tmp_path, FIRST, lambda *_: None)
    for row in (1, 0, 4, 3, 5):  # 2 never comes
        write(writer, row)
    assert writer._held._bytes == 14  # that of row 4; those of 3 and 5 wait on disk
    writer.close()
    assert writer._held._bytes == 0


def test_what_waits_for_a_row_that_never_comes_is_written_at_the_end(tmp_path: Path) -> None:
    below = Recorder()
    writer = OrderedWriter(below, tmp_path, FIRST, lambda *_: None)
    for row in (5, 3):
        write(writer, row)
    assert below.rows == []
    writer.close()
    assert [key for key, _ in below.rows] == ["000033", "000035"]


@pytest.mark.parametrize("order", [(0, 1, 3), (1, 0, 3)])
def test_a_failure_is_raised_again_at_the_end(tmp_path: Path, order: tuple[int, ...]) -> None:
    """img2dataset only prints the first time."""
    below = Recorder(fails_at="000031")
    writer = OrderedWriter(below, tmp_path, FIRST, lambda *_: None)
    failures = 0
    for row in order:
        try:
            write(writer, row)
        except OSError:
            failures += 1
    assert failures == 1
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    assert below.closed
    assert [key for key, _ in below.rows] == ["000030"]


def test_a_perceptual_hash_is_a_column_more(tmp_path: Path) -> None:
    import hostile

    metas: list[dict[str, Any]] = [{"error_message": None} for _ in range(3)]
    writer = OrderedWriter(Recorder(), tmp_path, 0, lambda *_: None, perceptual_hash=True)
    for row, data in enumerate([hostile.picture("a"), None, b"no image"]):
        writer.write(data, f"{row:06d}", None, metas[row])
    writer.close()
    assert len(metas[0]["dhash"]) == 16
    assert [meta["dhash"] for meta in metas[1:]] == [None, None]
