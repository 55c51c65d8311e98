"""Columns as they come: class labels are their names, captions of several columns, lists of texts."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from filtering import select
from PIL import Image
from standin import Page, serving

from visunex.pipeline.errors import SourceError, UsageError
from visunex.pipeline.metadata.formats.reader_process import convert_to

ARTISTS = ["claude-monet", "ivan-aivazovsky", "vincent-van-gogh"]
STYLES = ["Impressionism", "Romanticism"]


def label(names: Any) -> dict[str, Any]:
    return {"names": names, "_type": "ClassLabel"}


def described(table: pa.Table, **features: Any) -> pa.Table:
    """The table as `datasets` writes one: what its columns are stands in its schema."""
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def wikiart(**features: Any) -> pa.Table:
    """WikiArt's shape: an image, and class labels of artist and style, of which some have none."""
    table = pa.table({
        "image": [{"bytes": b"\x89PNG" + bytes([n]), "path": f"{n}.png"} for n in range(6)],
        "artist": [0, 1, 2, 1, -1, 7],
        "style": pa.array([0, 1, 0, None, 1, 0], pa.int32()),
        "moods": [[0], [0, 1], [], None, [1], [9]],
    })  # fmt: skip
    mood = {"feature": label(["calm", "storm"]), "_type": "List"}
    return described(table, **({"artist": label(ARTISTS), "style": label(STYLES), "moods": mood} | features))


def as_file(folder: Path, name: str, table: pa.Table) -> Path:
    """The table in a file of that name's kind."""
    if name.endswith("parquet"):
        pq.write_table(table, folder / name, row_group_size=2)
    else:
        with pa.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table)
    return folder / name


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_keywords_find_what_class_labels_say(tmp_path: Path, name: str) -> None:
    report, found = select(tmp_path / "run", as_file(tmp_path, name, wikiart()), keywords=["aivazovsky"])
    assert found["artist"].to_list() == ["ivan-aivazovsky"] * 2
    assert sorted(found["caption"]) == ["ivan-aivazovsky", "ivan-aivazovsky, Romanticism, calm, storm"]
    assert found.sort("style")["moods"].to_list() == [None, ["calm", "storm"]]
    assert "2 values of artist are no class label, read as empty" in report.remarks
    assert "1 values of moods are no class label, read as empty" in report.remarks
    assert any("captions are what stands in artist, style, moods" in each for each in report.remarks)


@pytest.mark.parametrize(("where", "count"), [
    ("style = 'Romanticism'", 2), ("artist LIKE '%gogh'", 1), ("moods LIKE '%storm%'", 2),
    ("array_contains(moods, 'storm')", 2), ("caption LIKE 'ivan%' AND style IS NULL", 1),
])  # fmt: skip
def test_where_asks_names_lists_and_the_joined_caption(tmp_path: Path, where: str, count: int) -> None:
    source = as_file(tmp_path, "x.parquet", wikiart())
    assert select(tmp_path / "run", source, where=where)[0].selected == count


def test_a_caption_of_several_columns_leaves_out_the_empty_ones(tmp_path: Path) -> None:
    table = pl.DataFrame({
        "url": ["a", "b", "c", "d"],
        "Artist": ["Monet", "", None, None],
        "year": [1872.0, None, 1890.0, None],
        "tags": [["boat", "sea"], ["", "rose"], None, []], "caption": ["an older one"] * 4,
    })  # fmt: skip
    table.write_parquet(tmp_path / "x.parquet")
    columns = {"caption": "artist, year,tags"}
    _, found = select(tmp_path / "run", tmp_path / "x.parquet", columns=columns)
    assert found.sort("url")["caption"].to_list() == ["Monet, 1872, boat, sea", "rose", "1890", None]
    assert found["source_caption"].to_list() == ["an older one"] * 4
    as_list = {"caption": ["artist", "year", "tags"]}
    _, same = select(tmp_path / "again", tmp_path / "x.parquet", columns=as_list, keywords=["SEA"])
    assert same["caption"].to_list() == ["Monet, 1872, boat, sea"]
    with pytest.raises(SourceError, match="no column 'title' for the caption; there are url, Artist"):
        select(tmp_path / "no", tmp_path / "x.parquet", columns={"caption": "artist,title"})


def test_a_column_whose_name_has_a_comma_is_that_column(tmp_path: Path) -> None:
    pl.DataFrame({"url": ["a"], "a,b": ["rose"], "a": ["no"]}).write_parquet(tmp_path / "x.parquet")
    _, found = select(tmp_path / "run", tmp_path / "x.parquet", columns={"caption": "a,b"})
    assert found["caption"].to_list() == ["rose"]


def test_lists_of_captions_are_captions(tmp_path: Path) -> None:
    table = pl.DataFrame({"url": ["a", "b"], "captions": [["a rose", "a red rose"], [None, "a castle"]]})
    table.write_parquet(tmp_path / "x.parquet")
    table.write_ndjson(tmp_path / "x.jsonl")
    for name in ("x.parquet", "x.jsonl"):
        _, found = select(tmp_path / name[2:], tmp_path / name, keywords=["rose"])
        assert found["caption"].to_list() == ["a rose, a red rose"]


def test_files_with_other_labels_make_one_table(tmp_path: Path) -> None:
    for name, names in (("a", ["x", "y"]), ("b", ["y", "z"])):
        table = described(pa.table({"url": [f"{name}0", f"{name}1"], "kind": [0, 1]}), kind=label(names))
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet")
    pq.write_table(pa.table({"url": ["c0"], "kind": ["y"]}), tmp_path / "data" / "c.parquet")
    _, found = select(tmp_path / "run", tmp_path / "data", where="kind = 'y'")
    assert sorted(found["url"]) == ["a1", "b0", "c0"]


@pytest.mark.parametrize(("names", "said"), [
    ("artists", "no list of texts"), (None, "no list of texts"), ([1, 2], "no list of texts"),
    (["x"] * 100_001, "100,001 names, more than 100,000"), (["x" * 2000], "one has 2,000 letters"),
])  # fmt: skip
def test_what_only_pretends_to_be_labels_is_named_and_stays(tmp_path: Path, names: Any, said: str) -> None:
    source = as_file(tmp_path, "x.parquet", wikiart(artist=label(names)))
    report, found = select(tmp_path / "run", source, where="artist = 1")
    assert found["artist"].to_list() == [1, 1]
    (remark,) = (each for each in report.remarks if each.startswith("artist says it has class labels, but"))
    assert said in remark


@pytest.mark.parametrize("bad", [b"{", b"[]", b'{"info": 5}', b'{"info": {"features": []}}', b"[" * 10_000])
def test_what_says_nothing_sensible_of_columns_does_no_harm(tmp_path: Path, bad: bytes) -> None:
    table = pa.table({"url": ["a"], "artist": [1]}).replace_schema_metadata({b"huggingface": bad})
    pq.write_table(table, tmp_path / "x.parquet")
    assert select(tmp_path / "run", tmp_path / "x.parquet")[1]["artist"].to_list() == [1]


def test_no_more_than_so_many_of_a_label(tmp_path: Path) -> None:
    _, found = select(tmp_path / "run", as_file(tmp_path, "x.parquet", wikiart()), max_per=["style=1"])
    assert sorted(found["style"].drop_nulls()) == STYLES


def test_a_score_with_labels_stays_a_number_that_ranks(tmp_path: Path) -> None:
    table = pa.table({"url": ["a", "b", "c"], "score": [1, 2, 0]})
    _, found = select(
        tmp_path / "run", as_file(tmp_path, "x.parquet", described(table, score=label(["x"] * 3)))
    )
    assert found["url"].to_list() == ["b", "a", "c"]


def test_a_number_compared_with_a_label_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="style"):
        select(tmp_path / "run", as_file(tmp_path, "x.parquet", wikiart()), where="style = 1")


def test_a_converted_file_has_the_names(tmp_path: Path) -> None:
    source = as_file(tmp_path, "x.arrow", wikiart().drop_columns("image"))
    tally = convert_to(source, tmp_path / "x.parquet")
    assert pl.read_parquet(tmp_path / "x.parquet")["style"].to_list()[:2] == STYLES
    assert "2 values of artist are no class label, read as empty" in tally.remarks


def test_folders_of_classes_are_labels(tmp_path: Path) -> None:
    for name in ("train/castle/1.png", "train/rose/2.png", "3.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / name)
    report, found = select(tmp_path / "run", tmp_path / "set", keywords=["castle"])
    assert found.select("caption", "label").rows() == [("castle", "castle")]
    assert any("captions are what stands in label" in each for each in report.remarks)
    (tmp_path / "set" / "train" / "castle" / "1.txt").write_text("a keep")
    _, found = select(tmp_path / "other", tmp_path / "set", columns={"caption": "label,caption"})
    assert sorted(found["caption"].drop_nulls()) == ["castle, a keep", "rose"]


def test_labels_and_lists_lie_behind_addresses_too(tmp_path: Path) -> None:
    files = {each: as_file(tmp_path, each, wikiart()).read_bytes() for each in ("x.parquet", "x.arrow")}
    answer = json.dumps(
        [{"url": "https://h/1.jpg", "caption": "ivan-aivazovsky", "id": 1, "similarity": 0.3}]
    )
    with serving({"/x.parquet": Page(files["x.parquet"]), "/x.arrow": Page(files["x.arrow"]),
                  "/answer": Page(answer.encode())}) as web:  # fmt: skip
        for path, count in (("x.parquet", 2), ("x.arrow", 2), ("answer", 1)):
            run = tmp_path / f"run-{path}"
            report, found = select(run, f"{web.address}/{path}", keywords=["aivazovsky"])
            assert report.selected == count
            assert set(found["caption"].str.slice(0, 15)) == {"ivan-aivazovsky"}


def test_damaged_numbers_behind_labels_are_a_named_error(tmp_path: Path) -> None:
    """Nothing at the file's end says which numbers there are, so they are counted: and cannot be read."""
    table = described(
        pa.table({"url": [f"a{n}" for n in range(500)], "kind": [0, 1] * 250}), kind=label(["x", "y"])
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, write_statistics=False, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    begin = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data[begin : begin + 12] = b"\xff" * 12
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.parquet is broken"):
        select(tmp_path / "run", path, where="kind = 'x'")
