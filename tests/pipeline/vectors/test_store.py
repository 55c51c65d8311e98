"""Folders of vectors: ours, and those that clip-retrieval or LAION wrote."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from visunex.pipeline.errors import EncodeError
from visunex.pipeline.reduce.embedding import reduce_folder
from visunex.pipeline.shards.samples import Sample
from visunex.pipeline.vectors.store import (
    part_paths,
    read_provenance,
    read_vectors,
    remove_parts_but,
    write_part,
)

RAW = (np.random.default_rng(0).normal(size=(10, 6)) * 4 + 9).astype(np.float32)
UNITS = RAW / np.linalg.norm(RAW, axis=1, keepdims=True)


def peers_folder(path: Path, arrays: dict[str, NDArray[Any]], **columns: list[Any]) -> Path:
    """A folder as clip-retrieval writes it."""
    (path / "img_emb").mkdir(parents=True)
    for name, array in arrays.items():
        np.save(path / "img_emb" / f"img_emb_{name}.npy", array)
        if columns:
            (path / "metadata").mkdir(exist_ok=True)
            pq.write_table(pa.table(columns), path / "metadata" / f"metadata_{name}.parquet")
    return path


def our_part(folder: Path, number: int, raw: NDArray[np.float32], **known: Any) -> None:
    samples = [
        Sample(str(index), f"{index}.jpg", folder, 0, 1, f"caption {index}", None, 5.0 + index)
        for index in range(len(raw))
    ]
    write_part(part_paths(folder, number), raw, samples, known)


def together(batches: Any) -> NDArray[np.float32]:
    return np.concatenate(list(batches))


def test_what_is_written_comes_back_normalised_and_raw(tmp_path: Path) -> None:
    our_part(tmp_path, 0, RAW[:4], identity={"a": 1})
    our_part(tmp_path, 1, RAW[4:], identity={"a": 1})
    vectors = read_vectors(tmp_path)
    assert len(vectors) == 10
    assert np.allclose(together(vectors.units()), UNITS, atol=1e-7)
    assert np.allclose(together(vectors.raw()), RAW, rtol=1e-6)
    assert vectors.scores().tolist() == [5, 6, 7, 8, 5, 6, 7, 8, 9, 10]
    assert vectors.identities() == [{"a": 1}]
    assert np.allclose(reduce_folder(vectors, "mean")[0], RAW.mean(axis=0), rtol=1e-6)


def test_the_same_vectors_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        our_part(tmp_path / name, 0, RAW, stamp="x")
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_a_part_is_finished_only_with_both_its_files(tmp_path: Path) -> None:
    part = part_paths(tmp_path, 3)
    assert part.metadata is not None
    assert read_provenance(part) is None
    our_part(tmp_path, 3, RAW, stamp="x")
    assert (read_provenance(part) or {})["stamp"] == "x"
    part.metadata.write_bytes(b"PAR1")
    assert read_provenance(part) is None
    remove_parts_but(tmp_path, {2})
    assert not part.vectors.exists()


def test_a_part_of_nothing_but_failures_is_read(tmp_path: Path) -> None:
    our_part(tmp_path, 0, RAW[:0])
    our_part(tmp_path, 1, RAW)
    assert len(read_vectors(tmp_path)) == 10
    assert together(read_vectors(tmp_path).units()).shape == (10, 6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_peers_normalised_vectors_are_read_but_have_no_mean(tmp_path: Path, dtype: Any) -> None:
    folder = peers_folder(tmp_path / "p", {"0": UNITS.astype(dtype)}, image_path=[str(i) for i in range(10)])
    vectors = read_vectors(folder)
    assert together(vectors.units()).dtype == np.float32
    assert np.isnan(vectors.scores()).all()
    assert vectors.identities() == []
    expected = UNITS.mean(axis=0) / np.linalg.norm(UNITS.mean(axis=0))
    assert np.allclose(reduce_folder(vectors, "unit-mean")[0], expected, atol=2e-3)
    with pytest.raises(EncodeError, match=r"holds normalised vectors.*unit-mean"):
        reduce_folder(vectors, "mean")


def test_peers_raw_vectors_are_told_by_their_norms(tmp_path: Path) -> None:
    vectors = read_vectors(peers_folder(tmp_path / "p", {"0000": RAW}))
    assert np.array_equal(together(vectors.raw()), RAW)
    assert np.allclose(together(vectors.units()), UNITS, atol=1e-6)
    assert np.allclose(reduce_folder(vectors, "mean")[0], RAW.mean(axis=0), rtol=1e-6)


def test_parts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    arrays = {str(number): np.full((1, 6), number + 1, dtype=np.float32) for number in (10, 9, 0, 2)}
    vectors = read_vectors(peers_folder(tmp_path / "p", arrays))
    assert together(vectors.raw())[:, 0].tolist() == [1, 3, 10, 11]


def test_published_scores_are_taken(tmp_path: Path) -> None:
    folder = peers_folder(tmp_path / "p", {"0": RAW[:3]}, score=[1, 2, None])
    assert read_vectors(folder).scores()[:2].tolist() == [1, 2]


def test_folders_that_do_not_hold_together_are_named(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match=r"holds no img_emb"):
        read_vectors(tmp_path)
    with pytest.raises(EncodeError, match="has 3 rows for the 10 vectors"):
        read_vectors(peers_folder(tmp_path / "rows", {"0": RAW}, key=["a", "b", "c"]))
    with pytest.raises(EncodeError, match="different towers"):
        read_vectors(peers_folder(tmp_path / "dims", {"0": RAW, "1": RAW[:, :3]}))
    for name, array in {"ints": RAW.astype(np.int32), "cube": RAW[None]}.items():
        with pytest.raises(EncodeError, match=r"not vectors \[n, D\] of floats"):
            read_vectors(peers_folder(tmp_path / name, {"0": array}))
    pickled = peers_folder(tmp_path / "pickled", {"0": np.array([{}], dtype=object)})
    with pytest.raises(EncodeError, match="is no array of vectors"):
        read_vectors(pickled)
    cut = peers_folder(tmp_path / "cut", {"0": RAW}) / "img_emb" / "img_emb_0.npy"
    cut.write_bytes(cut.read_bytes()[:150])
    with pytest.raises(EncodeError, match=r"img_emb_0.npy is no array"):
        read_vectors(tmp_path / "cut")
    broken = peers_folder(tmp_path / "broken", {"0": RAW}, key=["a"] * 10)
    (broken / "metadata" / "metadata_0.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(EncodeError, match=r"metadata_0.parquet cannot be read"):
        read_vectors(broken)


@pytest.mark.parametrize("lone", ["metadata/metadata_1.parquet", "img_emb/img_emb_1.npy"])
def test_a_file_without_its_partner_is_named(tmp_path: Path, lone: str) -> None:
    folder = peers_folder(tmp_path / "p", {"0": RAW, "1": RAW}, key=["a"] * 10)
    other = next(path for path in folder.rglob("*_1.*") if not path.match(lone))
    other.unlink()
    with pytest.raises(EncodeError, match=f"{lone} has no partner"):
        read_vectors(folder)


def test_rows_without_a_direction_are_left_out_and_named(tmp_path: Path) -> None:
    array = RAW.astype(np.float64)
    array[0], array[3, 2], array[9, 0], array[5, 1] = 0, np.nan, np.inf, 1e300
    scores = [float(row) for row in range(10)]
    vectors = read_vectors(peers_folder(tmp_path / "p", {"0": RAW, "1": array}, score=scores))
    kept = np.concatenate([RAW, RAW[[1, 2, 4, 6, 7, 8]]])
    assert len(vectors) == 16
    assert [name.rpartition("/")[2] for name in vectors.dropped] == [
        f"img_emb_1.npy row {row}" for row in (0, 3, 5, 9)
    ]
    assert np.array_equal(together(vectors.raw()), kept)
    assert vectors.scores().tolist() == [*scores, 1, 2, 4, 6, 7, 8]
    assert np.allclose(reduce_folder(vectors, "mean")[0], kept.mean(axis=0), rtol=1e-6)
    with pytest.raises(EncodeError, match=r"every vector in .* is zero or not finite .*img_emb_0.npy row 0"):
        read_vectors(peers_folder(tmp_path / "none", {"0": RAW * 0}))


def test_reading_maps_files_and_does_not_load_them(tmp_path: Path) -> None:
    import tracemalloc

    folder = peers_folder(tmp_path / "p", {"0": np.ones((100_000, 64), dtype=np.float16)})
    tracemalloc.start()
    result = reduce_folder(read_vectors(folder), "unit-mean")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.shape == (1, 64)
    assert peak < 20_000_000  # the file as float64 is 51 MB
