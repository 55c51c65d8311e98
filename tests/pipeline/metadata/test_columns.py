"""Columns recognised by name or named, and their types."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filtering import rows, select

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata import table as tables
from visunex.pipeline.metadata.columns import NAMES
from visunex.pipeline.metadata.resolve import resolve_source
from visunex.recipes import Columns


def table(path: Path) -> tables.Table:
    return tables.open_table(resolve_source(str(path)), Columns())


@pytest.mark.parametrize("role", NAMES)
def test_a_column_is_recognised_by_each_of_its_names_in_any_case(role: Any, tmp_path: Path) -> None:
    for name in NAMES[role]:
        for own in (name, name.upper(), name.title()):
            pl.DataFrame({"x": [1], own: [1], "y": ["z"]}).write_parquet(tmp_path / "m.parquet")
            assert table(tmp_path / "m.parquet").roles[role] == own


def test_the_likeliest_of_several_names_is_taken(tmp_path: Path) -> None:
    frame = pl.DataFrame({"score": [1.0], "aesthetic": [2.0], "title": ["t"], "TEXT": ["x"], "url": ["u"]})
    frame.write_parquet(tmp_path / "m.parquet")
    roles = table(tmp_path / "m.parquet").roles
    assert (roles["score"], roles["caption"]) == ("aesthetic", "TEXT")


def test_a_told_column_is_taken_whatever_its_case(tmp_path: Path) -> None:
    pl.DataFrame({"Link": ["u"], "Alt": ["rose"], "TEXT": ["oak"]}).write_parquet(tmp_path / "m.parquet")
    columns = {"url": "LINK", "caption": "Alt"}
    _, selected = select(tmp_path / "run", tmp_path / "m.parquet", keywords=["rose"], columns=columns)
    assert selected.columns == ["key", "url", "caption", "score", "width", "height", "random", "TEXT"]


@pytest.mark.parametrize(
    ("drop", "settings", "said"),
    [
        ("URL", {}, "needs a column for the url, and none is recognised among TEXT, WIDTH"),
        ("TEXT", {"keywords": ["a"]}, "--keywords needs a column for the caption"),
        ("TEXT", {"exclude": ["a"]}, "--exclude needs a column for the caption"),
        ("AESTHETIC_SCORE", {"min_score": 6}, "--min-score needs .* name it with --score-column"),
        ("similarity", {"min_similarity": 0.2}, "--min-similarity needs a column for the similarity"),
        ("hash", {"dedupe": "hash"}, "--dedupe hash needs a column for the hash"),
        ("hash", {"columns": {"url": "LINK"}}, "there is no column 'LINK' for the url; there are URL, TEXT"),
    ],
)
def test_a_missing_column_names_those_that_are_there(
    drop: str, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    rows("a").drop(drop).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(SourceError, match=said):
        select(tmp_path / "run", tmp_path / "m.parquet", **settings)


@pytest.mark.parametrize(
    ("column", "values", "settings", "said"),
    [
        ("URL", [1, 2], {}, "column 'URL' cannot be the url: it holds Int64, not text"),
        ("TEXT", [[1], [2]], {"keywords": ["a"]}, "cannot be the caption: it holds List"),
        ("AESTHETIC_SCORE", ["high", "low"], {}, "cannot be the score: it holds String, not numbers"),
        ("WIDTH", ["1", "2"], {"min_width": 5}, "cannot be the width: it holds String"),
    ],
)
def test_a_column_of_another_type_is_named(
    column: str, values: list[Any], settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    frame = rows("a", "b").with_columns(pl.Series(column, values))
    frame.write_parquet(tmp_path / "m.parquet")
    with pytest.raises(SourceError, match=said):
        select(tmp_path / "run", tmp_path / "m.parquet", **settings)


def test_types_as_the_laion_family_has_them(tmp_path: Path) -> None:
    """float64 sizes (improved_aesthetics), int32 sizes and LANGUAGE (laion-art), pandas' row labels."""
    six_five = rows("rose", None, WIDTH=[640, None], HEIGHT=[480, 500]).cast(
        {"WIDTH": pl.Float64, "HEIGHT": pl.Float64, "AESTHETIC_SCORE": pl.Float32}
    )
    six_five.with_columns(__index_level_0__=pl.lit(7)).write_parquet(tmp_path / "v2.parquet")
    report, selected = select(tmp_path / "v2", tmp_path / "v2.parquet", min_width=512)
    assert (report.dropped["min_width"], selected.schema["width"]) == (1, pl.Int64)
    assert "__index_level_0__" not in selected.columns
    art = rows("rose").cast({"WIDTH": pl.Int32, "HEIGHT": pl.Int32}).rename({"AESTHETIC_SCORE": "aesthetic"})
    art.with_columns(LANGUAGE=pl.lit("en")).write_parquet(tmp_path / "v1.parquet")
    _, selected = select(tmp_path / "v1", tmp_path / "v1.parquet", min_width=512, where="LANGUAGE = 'en'")
    assert selected.row(0, named=True)["score"] == 8.0


def test_texts_stored_as_categories_or_bytes(tmp_path: Path) -> None:
    texts = pa.array(["rose", "oak", None]).dictionary_encode()
    data = {"url": pa.array([b"a", b"b", b"c"], pa.binary()), "text": texts}
    pq.write_table(pa.table(data), tmp_path / "m.parquet")
    _, selected = select(tmp_path / "run", tmp_path / "m.parquet", keywords=["ROSE"])
    assert selected.select("url", "caption").rows() == [("a", "rose")]
