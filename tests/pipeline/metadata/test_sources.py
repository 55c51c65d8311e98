"""Local metadata: found, its columns recognised, files that do not quite fit together, broken ones."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filtering import rows, select

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata import table as tables
from visunex.pipeline.metadata.catalog import data_sets
from visunex.pipeline.metadata.columns import NAMES
from visunex.pipeline.metadata.resolve import resolve_source
from visunex.recipes import Columns

# --- where it lies ---


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """A folder with files beside and below each other, and others than parquet."""
    folder = tmp_path / "meta[data]"
    for n, place in enumerate(["a.parquet", "b.parquet", "below/c.parquet"]):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        rows("rose", URL=[f"u{n}"]).write_parquet(path)
    (folder / "README.md").write_text("not metadata")
    return folder


@pytest.mark.parametrize(
    ("address", "count"),
    [("", 3), ("a.parquet", 1), ("below", 1), ("below/../b.parquet", 1)],
)
def test_a_file_or_folder(address: str, count: int, metadata: Path, tmp_path: Path) -> None:
    report, _ = select(tmp_path / "run", metadata / address)
    assert (report.rows, report.files) == (count, count)


@pytest.mark.parametrize(("pattern", "count"), [("*.parquet", 2), ("**/*.parquet", 3), ("[ab].*", 2)])
def test_a_pattern(pattern: str, count: int, metadata: Path, tmp_path: Path) -> None:
    plain = metadata.rename(tmp_path / "plain")
    assert select(tmp_path / "run", plain / pattern)[0].rows == count


def test_the_home_folder_is_meant_by_a_tilde(
    metadata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(metadata))
    assert select(tmp_path / "run", "~/a.parquet")[0].rows == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("none.parquet", "there is no file, folder or known data set"),
        ("*.arrow", "no file matches"),
        ("empty", "is a folder without .parquet"),
        ("\0", "cannot be looked up|there is no file"),
        ("x" * 5000, "cannot be looked up|there is no file"),
    ],
)
def test_what_is_not_there_is_said(
    address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=said):
        resolve_source(address)


def test_a_misspelled_name_is_guessed_and_a_known_one_wins_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match=r"did you mean improved_aesthetics_6\.5plus\?"):
        resolve_source("improved_aesthetic_6.5plus")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows("rose").write_parquet("laion-art")
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        resolve_source("laion-art")
    assert resolve_source("./laion-art").paths == ("laion-art",)


def test_the_demo_world_says_who_serves_it() -> None:
    with pytest.raises(SourceError, match="visunex-data run demo_flower"):
        resolve_source("demo")


def test_the_catalogue_says_what_each_set_is() -> None:
    for name, known in data_sets().items():
        assert known.name == name
        assert known.about
        assert known.checked
        assert known.addresses or known.note


# --- what tells its contents ---


def test_the_identity_changes_with_the_contents_alone(tmp_path: Path) -> None:
    first, moved = tmp_path / "m.parquet", tmp_path / "elsewhere" / "m.parquet"
    rows("rose", "oak").write_parquet(first)
    before = resolve_source(str(first)).identity
    moved.parent.mkdir()
    moved.write_bytes(first.read_bytes())
    assert resolve_source(str(moved)).identity == before
    assert json.loads(json.dumps(before)) == before
    rows("rose", "elm").write_parquet(first)
    assert resolve_source(str(first)).identity != before


# --- its columns ---


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
    assert selected.columns == ["key", "url", "caption", "score", "width", "height", "TEXT"]


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


def test_own_columns_never_take_the_names_of_ours(tmp_path: Path) -> None:
    own = {"url": ["other"], "key": ["k"], "score": [1], "source_score": [2], "nested": [[1]]}
    frame = rows("rose").with_columns(**{name: pl.Series(values) for name, values in own.items()})
    frame.rename({"URL": "LINK"}).write_parquet(tmp_path / "m.parquet")
    _, selected = select(tmp_path / "run", tmp_path / "m.parquet", columns={"url": "LINK"})
    row = selected.row(0, named=True)
    assert row["url"].startswith("https://example.org")
    assert (row["source_url"], row["source_key"]) == ("other", "k")
    assert (row["source_score"], row["source_source_score"]) == (2, 1)
    assert row["nested"] == [1]


# --- files together ---


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


# --- broken ones ---


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


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    rows("a").write_parquet(tmp_path / "m.parquet")
    (tmp_path / "dangling.parquet").symlink_to(tmp_path / "gone")
    with pytest.raises(SourceError, match=r"dangling\.parquet cannot be read: No such file"):
        select(tmp_path / "run", tmp_path)
