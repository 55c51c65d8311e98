"""Groups of vectors: those that lie together are found, in any order, the same each time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from visunex.pipeline.reduce import groups as groups_module
from visunex.pipeline.reduce.groups import MOST_GROUPS, group, group_vectors, write_groups
from visunex.pipeline.vectors.store import read_vectors


def around(
    centres: int, count: int, spread: float, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    of = rng.integers(centres, size=count)
    rows = rng.standard_normal((centres, 64))[of] + spread * rng.standard_normal((count, 64))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), of


@pytest.mark.parametrize("centres", [2, 3, 5])
def test_groups_that_lie_apart_are_found_and_counted(centres: int) -> None:
    units, of = around(centres, 400, 0.3)
    found = group(units)
    assert len(found.centres) == centres
    assert len({*zip(found.of.tolist(), of.tolist(), strict=True)}) == centres, "one to one"
    sizes = np.bincount(found.of)
    assert (np.diff(sizes) <= 0).all(), "the largest first"
    assert found.separation is not None
    assert found.separation > 0.6
    np.testing.assert_allclose(np.linalg.norm(found.centres, axis=1), 1, atol=1e-5)


def test_the_order_of_vectors_does_not_matter_to_who_is_together() -> None:
    units, _ = around(3, 300, 0.3)
    order = np.random.default_rng(1).permutation(len(units))
    one, other = group(units).of, group(units[order]).of
    assert len({*zip(one[order].tolist(), other.tolist(), strict=True)}) == 3


def test_the_same_vectors_give_the_same_groups() -> None:
    units, _ = around(4, 200, 1.0)
    one, other = group(units), group(units.copy())
    np.testing.assert_array_equal(one.of, other.of)
    np.testing.assert_array_equal(one.centres, other.centres)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 7])
def test_few_vectors_and_equal_ones(count: int) -> None:
    units, _ = around(1, max(count, 1), 0.5)
    for rows in (units[:count], np.repeat(units[:1], count, axis=0)):
        found = group(rows)
        assert found.of.shape == (count,)
        assert len(found.centres) <= MOST_GROUPS
        assert set(found.of.tolist()) == set(range(len(found.centres)))


def test_one_cloud_is_told_from_several_by_its_separation() -> None:
    separation = group(around(1, 500, 1.0)[0]).separation
    assert separation is not None
    assert separation < 0.3


def test_as_many_as_are_asked_for(tmp_path: Path) -> None:
    units, _ = around(2, 100, 0.5)
    found = group(units, 3)
    assert len(found.centres) == 3
    write_groups(tmp_path / "groups.parquet", [f"{each:03d}" for each in range(100)], found)
    written = pl.read_parquet(tmp_path / "groups.parquet")
    assert (written.columns, written["group"].to_list()) == (["key", "group"], found.of.tolist())


def test_a_folder_has_the_groups_of_its_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where centres are learned from some of the vectors only, and batches begin anywhere."""
    units, _ = around(3, 700, 0.3)
    (tmp_path / "img_emb").mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", units[:513])
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", units[513:])
    for most in (20_000, 100):
        monkeypatch.setattr(groups_module, "SAMPLE", most)
        found = group_vectors(read_vectors(tmp_path))
        assert found is not None
        np.testing.assert_array_equal(found.of, group(units).of)
        np.testing.assert_array_equal(found.centres, group(units).centres)
