"""Vectors of some rows of a file behind an address: what is read, and how much of it is said before."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_vectors import published, url

from visunex.net.range_file import LocalFile
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.vectors import measured
from visunex.pipeline.vectors.remote_store import header, open_folder

WIDTH, ROWS = 8, 600


class Counted(LocalFile):
    """A file that is taken for one behind an address, and counts what is read of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.requests: list[int] = []

    def read_many(self, ranges):  # type: ignore[no-untyped-def]
        self.requests += [end - begin for begin, end in ranges]
        return super().read_many(ranges)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("far")
    return folder, published(folder, (ROWS,), "<f4", width=WIDTH)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, ROWS - 1), min_size=1), st.sampled_from([0, 64, 1 << 20]), st.integers(16, 999))
def test_the_rows_that_are_wanted_are_read_and_as_many_bytes_as_is_said(
    vectors: tuple[Path, np.ndarray], wanted: set[int], gap: int, piece: int
) -> None:
    folder, expected = vectors
    file, rows = Counted(folder / "img_emb/img_emb_0.npy"), np.array(sorted(wanted))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measured, "is_far", lambda _: True)
        for name, value in (("_FAR_GAP", gap), ("_FAR_PIECE", piece), ("_FAR_BLOCK", 100), ("_FEW", 3)):
            patched.setattr(measured, name, value)
        head = header(file)
        amount = measured._amount(file, head, rows)
        file.requests.clear()
        read = np.concatenate([*measured._blocks(file, head, rows)])
    np.testing.assert_array_equal(read, expected[rows])
    assert (amount.bytes, amount.pieces) == (sum(file.requests), len(file.requests))
    assert max(file.requests) <= piece


def test_more_than_may_be_moved_is_refused_before_it_is_read(
    vectors: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import polars as pl

    folder, expected = vectors
    monkeypatch.setattr(measured, "is_far", lambda _: True)
    wanted = pl.Series([url(row) for row in range(0, ROWS, 2)]).hash().to_numpy()
    functions = {"first": lambda units: units[:, 0].astype(float)}
    with pytest.raises(EncodeError, match="no more than 5000 may be: --max-remote-bytes"):
        measured.measure(open_folder(str(folder)), "url", wanted, functions, "5000")
    found = measured.measure(open_folder(str(folder)), "url", wanted, functions, "20kB")
    assert f"vectors to be read: {(ROWS - 1) * WIDTH * 4 / 1000:.1f} kB" in capsys.readouterr().err
    keys = pl.DataFrame({"url": [url(4), url(5)]}).select(found["first"].of(pl.col("url"))).to_series()
    assert keys[0] == pytest.approx(float(expected[4, 0]), abs=1e-6)
    assert keys[1] is None
