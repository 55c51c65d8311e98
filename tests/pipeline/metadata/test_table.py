"""Files of one source that do not quite fit together, scores that are not mixed, and broken files."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from filtering import rows, select
from laion import V1, V2, recipe, table

from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.rundir import RunDir


def test_files_may_differ_in_types_order_and_further_columns(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    plain = rows("rose a", URL=["a"])
    plain.write_parquet(folder / "a.parquet")
    floats = rows("rose b", URL=["b"], WIDTH=[None]).cast(
        {"WIDTH": pl.Float64, "AESTHETIC_SCORE": pl.Float32}
    )
    floats.select(reversed(floats.columns)).with_columns(extra=pl.lit("x")).write_parquet(
        folder / "b.parquet"
    )
    rows("rose c", URL=["c"]).cast({"WIDTH": pl.Int32}).write_parquet(folder / "c.parquet")
    report, selected = select(tmp_path / "run", folder, keywords=["rose"], min_score=1.0)
    assert (report.rows, selected["url"].to_list()) == (3, ["a", "b", "c"])
    assert selected["width"].to_list() == [640, None, 640]
    assert selected["extra"].to_list() == [None, "x", None]


def test_a_file_without_a_column_that_others_have_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows("a").write_parquet(folder / "a.parquet")
    rows("b").drop("AESTHETIC_SCORE").write_parquet(folder / "b.parquet")
    with pytest.raises(SourceError, match=r"b\.parquet has no column 'AESTHETIC_SCORE' for the score"):
        select(tmp_path / "run", folder)


def test_columns_that_cannot_be_one_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows("a").with_columns(extra=pl.lit("x")).write_parquet(folder / "a.parquet")
    rows("b").with_columns(extra=pl.Series([[1]])).write_parquet(folder / "b.parquet")
    with pytest.raises(SourceError, match="cannot be read: cannot cast List"):
        select(tmp_path / "run", folder)


def whole(path: Path) -> bytes:
    captions = [f"rose {n} {hash(n) % 9973}" for n in range(5000)]
    rows(*captions).write_parquet(path, row_group_size=500)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["empty", "truncated", "html", "zeros", "footer"])
def test_a_broken_file_is_named(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    data = whole(folder / "a.parquet")
    broken = {
        "empty": b"",
        "truncated": data[: len(data) // 2],
        "html": b"<!doctype html>" * 99,
        "zeros": bytes(len(data)),
        "footer": data[:-2000] + bytes(1992) + data[-8:],
    }
    (folder / "b.parquet").write_bytes(broken[kind])
    with pytest.raises(SourceError, match=r"b\.parquet") as caught:
        select(tmp_path / "run", folder, keywords=["rose"])
    assert "a.parquet" not in str(caught.value)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip"])
def test_a_file_with_broken_pages_is_named(compression: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    whole(folder / "a.parquet")
    captions = [f"rose {n} {n * 7919 % 9973}" for n in range(5000)]
    rows(*captions).write_parquet(folder / "b.parquet", row_group_size=500, compression=compression)
    data = bytearray((folder / "b.parquet").read_bytes())
    for at in range(100, len(data) // 2, 97):
        data[at] ^= 0xFF
    (folder / "b.parquet").write_bytes(data)
    with pytest.raises(SourceError, match=r"b\.parquet is broken: ") as caught:
        select(tmp_path / "run", folder, keywords=["rose"])
    assert "a.parquet" not in str(caught.value)


def test_scores_of_different_predictors_are_not_mixed(tmp_path: Path) -> None:
    pq.write_table(table(V2), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="scores of V2, the recipe's thresholds mean those of V1"):
        filter_rows(RunDir(tmp_path / "r1"), recipe(tmp_path / "a.parquet", predictor="V1"))
    filter_rows(RunDir(tmp_path / "r2"), recipe(tmp_path / "a.parquet", predictor="V2"))
    pq.write_table(table(V1), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"V2 \(AESTHETIC_SCORE\).*V1 \(aesthetic\).*not mixed"):
        filter_rows(RunDir(tmp_path / "r3"), recipe(tmp_path))


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    wrong = table(V2).set_column(7, "AESTHETIC_SCORE", pa.array([[1.0]] * 6))
    pq.write_table(wrong, tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="'AESTHETIC_SCORE' cannot be the score"):
        filter_rows(RunDir(tmp_path / "run"), recipe(tmp_path / "x.parquet", min_score=1.0))
