"""Files of one source that do not quite fit together, scores that are not mixed, and broken files."""

from datetime import UTC, datetime
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


def both(tmp_path: Path, first: pl.DataFrame, second: pl.DataFrame, **settings: Any) -> pl.DataFrame:
    """What is selected of two files, which must not depend on the files' order."""
    found = []
    for run, (one, other) in enumerate([(first, second), (second, first)]):
        folder = tmp_path / f"data{run}"
        folder.mkdir()
        one.write_parquet(folder / "a.parquet")
        other.write_parquet(folder / "b.parquet")
        found.append(select(tmp_path / f"run{run}", folder, **settings)[1])
    assert found[0].equals(found[1])
    assert found[0].schema == found[1].schema
    return found[0]


FIRST, SECOND = rows("rose a", URL=["a"]), rows("rose b", URL=["b"])


def test_a_column_that_one_file_has_alone_is_null_in_others(tmp_path: Path) -> None:
    selected = both(tmp_path, FIRST.select("URL", "TEXT", "AESTHETIC_SCORE", "hash"), SECOND.drop("hash"))
    assert selected["url"].to_list() == ["a", "b"]
    assert selected["hash"].to_list() == [0, None]
    assert selected["width"].to_list() == [None, 640]


def test_names_may_differ_in_case_and_between_files(tmp_path: Path) -> None:
    lower = SECOND.rename(str.lower)
    wanted = {"keywords": ["rose"], "min_score": 1.0}
    selected = both(tmp_path, FIRST, lower, **wanted)
    assert selected["caption"].to_list() == ["rose a", "rose b"]
    assert "source_TEXT" not in selected.columns
    (tmp_path / "other").mkdir()
    named = SECOND.rename({"URL": "image_url", "TEXT": "caption", "AESTHETIC_SCORE": "score"})
    selected = both(tmp_path / "other", FIRST, named, **wanted, where="hash >= 0 AND punsafe < 1")
    assert selected["url"].to_list() == ["a", "b"]
    assert selected["score"].to_list() == [8.0, 8.0]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (pl.Series([datetime(2026, 1, 1)]), pl.Series([datetime(2026, 1, 1, tzinfo=UTC)]), pl.String),
        (pl.Series(["x"]), pl.Series([[1]]), None),
        (pl.Series([{"a": 1}]), pl.Series([1]), None),
        (pl.Series([b"x"]), pl.Series([1.5]), pl.String),
        (pl.Series([2**63 + 1], dtype=pl.UInt64), pl.Series([-1]), pl.String),
        (pl.Series([None]), pl.Series([True]), pl.Boolean),
        (pl.Series(["x"], dtype=pl.Categorical), pl.Series([1]), pl.String),
    ],
)
def test_types_of_a_column_that_nothing_uses_may_differ(
    one: pl.Series, other: pl.Series, together: Any, tmp_path: Path
) -> None:
    selected = both(tmp_path, FIRST.with_columns(extra=one), SECOND.with_columns(extra=other))
    assert selected["url"].to_list() == ["a", "b"]
    assert selected.schema.get("extra") == together
    if one.dtype == pl.UInt64:
        assert selected["extra"].to_list() == [str(2**63 + 1), "-1"]


def test_a_role_in_use_must_hold_the_same_in_all_files(tmp_path: Path) -> None:
    wrong = SECOND.with_columns(punsafe=pl.Series([[0.1]]))
    assert both(tmp_path, FIRST, wrong)["url"].to_list() == ["a", "b"]
    with pytest.raises(SourceError, match="'punsafe' cannot be the punsafe: files differ in what it holds"):
        select(tmp_path / "run", tmp_path / "data0", max_punsafe=0.5)


def test_only_the_roles_in_use_are_required(tmp_path: Path) -> None:
    assert both(tmp_path, FIRST, SECOND.drop("TEXT"))["caption"].to_list() == ["rose a", None]
    with pytest.raises(
        SourceError, match=r"b\.parquet has no column 'TEXT' for the caption, as .*a\.parquet"
    ):
        select(tmp_path / "run", tmp_path / "data0", keywords=["rose"])
    (tmp_path / "named").mkdir()
    columns = {"caption": "alt"}
    assert both(tmp_path / "named", FIRST.with_columns(alt=pl.lit("x")), SECOND, columns=columns)[
        "caption"
    ].to_list() == ["x", None]
    with pytest.raises(SourceError, match="there is no column 'nothing' for the caption"):
        select(tmp_path / "run2", tmp_path / "data0", columns={"caption": "nothing"})


def test_folders_of_keys_are_columns(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for n, (score, language) in enumerate(
        [("7", "en"), ("6.5", "01"), ("__HIVE_DEFAULT_PARTITION__", "a%20b")]
    ):
        folder = data / f"score={score}" / f"language={language}"
        folder.mkdir(parents=True)
        rows(f"rose {n}", "rose", URL=[f"u{n}", f"v{n}"]).drop("AESTHETIC_SCORE").write_parquet(
            folder / "p.parquet"
        )
    for n, place in enumerate([data, data / "*" / "*" / "*.parquet", data / "score*"]):
        report, selected = select(tmp_path / f"run{n}", place, keywords=["rose"])
        assert report.rows == 6
        assert selected.select("url", "score", "language").rows()[1:4] == [
            ("v0", 7.0, "en"), ("u1", 6.5, "01"), ("v1", 6.5, "01"),
        ]  # fmt: skip
        assert selected["score"].to_list()[4:] == [None, None]
        assert selected["language"].to_list()[4:] == ["a b", "a b"]
    report, selected = select(tmp_path / "run9", data, min_score=7, where="language = 'en'")
    assert selected["url"].to_list() == ["u0", "v0"]
    assert report.dropped["min_score"] == 4


def test_a_files_own_column_wins_over_its_folders(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "aesthetic_score=1"
    folder.mkdir(parents=True)
    rows("rose").write_parquet(folder / "p.parquet")
    rows("rose", URL=["x"]).write_csv(folder.parent / "aesthetic_score=1" / "p.csv")
    assert select(tmp_path / "run", tmp_path / "data")[1]["score"].to_list() == [8.0]


def test_folders_of_keys_above_files_that_are_converted(tmp_path: Path) -> None:
    for score in (5, 9):
        (tmp_path / "data" / f"score={score}").mkdir(parents=True)
        (tmp_path / "data" / f"score={score}" / "p.csv").write_text(f"url,caption\nhttp://x/{score},a\n")
    selected = select(tmp_path / "run", tmp_path / "data")[1]
    assert selected.select("url", "score").rows() == [("http://x/9", 9.0), ("http://x/5", 5.0)]


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


def test_damage_on_which_the_reader_itself_breaks_down(tmp_path: Path) -> None:
    texts = pa.table(
        {"URL": [f"http://x/{n}" for n in range(300)], "TEXT": [f"rose {n}" for n in range(300)]}
    )
    encoding = {"TEXT": "DELTA_LENGTH_BYTE_ARRAY", "URL": "PLAIN"}
    path = tmp_path / "a.parquet"
    pq.write_table(texts, path, use_dictionary=False, column_encoding=encoding, compression="none")
    data = bytearray(path.read_bytes())
    data[data.index(b"\x80\x01\x04\xac\x02")] = 0x81  # blocks of 129 values: polars asserts multiples of 128
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.parquet is broken: .* it is damaged") as caught:
        select(tmp_path / "run", path, keywords=["rose"])
    assert "unwrap" not in str(caught.value)


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
