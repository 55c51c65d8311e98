"""Metadata as its owners publish it: the LAION family by schema, other formats, and files that are broken."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from visunex.pipeline.cli import main
from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.metadata.catalog import data_sets
from visunex.pipeline.metadata.formats.text import LONGEST_LINE
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Recipe

V2 = {
    "URL": pa.string(), "TEXT": pa.string(), "WIDTH": pa.float64(), "HEIGHT": pa.float64(),
    "similarity": pa.float64(), "punsafe": pa.float64(), "pwatermark": pa.float64(),
    "AESTHETIC_SCORE": pa.float64(), "hash": pa.int64(), "__index_level_0__": pa.int64(),
}  # fmt: skip
V1 = {
    "URL": pa.string(), "TEXT": pa.string(), "WIDTH": pa.int32(), "HEIGHT": pa.int32(),
    "similarity": pa.float64(), "LANGUAGE": pa.string(), "hash": pa.int64(), "pwatermark": pa.float32(),
    "punsafe": pa.float32(), "aesthetic": pa.float32(),
}  # fmt: skip
FAMILY = {
    "improved_aesthetics_6.5plus": {
        **V2,
        **dict.fromkeys(("punsafe", "pwatermark", "AESTHETIC_SCORE"), pa.float32()),
    },
    "aesthetics_v2_4.75": V2,
    "laion-art": V1,
    "laion2B-en-aesthetic": {name: kind for name, kind in V1.items() if name != "LANGUAGE"},
    "laion-high-resolution": {name: kind for name, kind in V1.items() if name != "aesthetic"},
}
TEXTS = [None, "a flower in a garden", "Floral dress", "a castle", "flower", "plant pot"]


def table(schema: dict[str, pa.DataType]) -> pa.Table:
    """Six rows; the second to last has no width, and one caption is null."""
    values: dict[str, list[Any]] = {
        "URL": [f"http://x/{row}.jpg" for row in range(6)],
        "TEXT": TEXTS,
        "WIDTH": [512, 256, 1024, 512, None, 640],
        "HEIGHT": [512, 256, 1024, 512, 512, 640],
        "LANGUAGE": ["en"] * 6,
        "hash": [-5, 2**62, 3, 4, 5, 6],
        "__index_level_0__": [9, 8, 7, 6, 5, 4],
    }
    scores = [6.5, 6.6, 6.7, 6.8, 6.9, 7.0]
    return pa.table({name: pa.array(values.get(name, scores), kind) for name, kind in schema.items()})


def recipe(data: Path | str, **wanted: Any) -> Recipe:
    return Recipe.model_validate({"name": "test", "source": {"data": str(data)}, "filter": wanted})


@pytest.mark.parametrize("name", FAMILY)
def test_each_member_of_the_family_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    pq.write_table(table(FAMILY[name]), tmp_path / "part-00000.snappy.parquet")
    scored = "score" if name != "laion-high-resolution" else None
    bounds = {"min_score": 6.55} if scored else {}
    run = RunDir(tmp_path / "run")
    report = filter_rows(
        run, recipe(tmp_path / "part-00000.snappy.parquet", keywords=("flor", "flower"), **bounds)
    )
    rows = pq.read_table(run.selected).to_pylist()
    assert sorted(row["caption"] for row in rows) == ["Floral dress", "a flower in a garden", "flower"]
    assert report.rows == 6 == report.selected + sum(report.dropped.values())
    assert {row["url"]: row["width"] for row in rows}["http://x/4.jpg"] is None
    assert "__index_level_0__" not in rows[0]
    assert {row["url"]: row["hash"] for row in rows}["http://x/1.jpg"] == 2**62
    assert all((row["score"] is None) == (scored is None) for row in rows)


@pytest.mark.parametrize("name", FAMILY)
def test_the_catalogue_says_these_columns(name: str) -> None:
    said = data_sets()[name].columns
    types = {"double": "float64", "float": "float32"}
    assert said == {column: types.get(str(kind), str(kind)) for column, kind in FAMILY[name].items()}


OTHERS = sorted(data_sets().keys() - FAMILY.keys() - {"sac", "demo"})


@pytest.mark.parametrize("sister", [V2, V1])
@pytest.mark.parametrize("name", OTHERS)
def test_members_whose_types_are_not_verified_are_read_with_those_of_either_generation(
    tmp_path: Path, name: str, sister: dict[str, pa.DataType]
) -> None:
    """Their columns by the catalogue; types it does not know as pandas (V2) and Spark (V1) wrote them."""
    known = {"string": pa.string(), "float64": pa.float64(), "float32": pa.float32(), "int64": pa.int64()}
    usual = {name.lower(): kind for name, kind in {**V2, **V1, **sister}.items()} | {"caption": pa.string()}
    schema = {
        column: known.get(kind, usual.get(column.lower(), pa.float32()))
        for column, kind in data_sets()[name].columns.items()
    }
    lower = {"url": "URL", "caption": "TEXT"}
    made = table({lower.get(column, column): kind for column, kind in schema.items()})
    pq.write_table(made.rename_columns(list(schema)), tmp_path / "part-00000.parquet")
    run = RunDir(tmp_path / "run")
    report = filter_rows(run, recipe(tmp_path / "part-00000.parquet", keywords=("flor", "flower")))
    rows = pq.read_table(run.selected).to_pylist()
    assert (report.rows, report.selected) == (6, 3)
    assert {row["caption"] for row in rows} == {"Floral dress", "a flower in a garden", "flower"}
    assert all((row["score"] is None) == (data_sets()[name].predictor is None) for row in rows)


def test_every_named_set_of_the_family_is_in_the_data_sets() -> None:
    named = {
        *FAMILY, "improved_aesthetics_6.25plus", "improved_aesthetics_6plus", "aesthetics_v2_4.5",
        "aesthetics_v2_5plus", "laion2B-multi-aesthetic", "laion1B-nolang-aesthetic",
        "relaion2B-en-research-safe", "relaion-art", "sac",
    }  # fmt: skip
    assert named <= data_sets().keys()
    assert all(known.checked for known in data_sets().values())
    assert not any("/" in name for name in data_sets()), "what has a slash is taken for a path"


def test_the_commands_list_show_and_convert(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["sources", "list"]).output
    assert "laion-art" in listed
    shown = CliRunner().invoke(main, ["sources", "show", "laion-art", "--json"])
    assert json.loads(shown.stdout)["predictor"] == "V1"
    assert "known from:" in CliRunner().invoke(main, ["sources", "show", "laion-art"]).output
    assert CliRunner().invoke(main, ["sources", "show", "laion"]).exit_code == 2
    (tmp_path / "x.csv").write_text("url,text\nhttp://x/1,one\nhttp://x/2,\n")
    done = CliRunner().invoke(
        main, ["sources", "convert", str(tmp_path / "x.csv"), str(tmp_path / "x.parquet")]
    )
    assert done.exit_code == 0, done.output
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [
        {"url": "http://x/1", "text": "one"},
        {"url": "http://x/2", "text": None},
    ]


def test_scores_of_different_predictors_are_not_mixed(tmp_path: Path) -> None:
    pq.write_table(table(V2), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="scores of V2, the recipe's thresholds mean those of V1"):
        filter_rows(RunDir(tmp_path / "r1"), recipe(tmp_path / "a.parquet", predictor="V1"))
    filter_rows(RunDir(tmp_path / "r2"), recipe(tmp_path / "a.parquet", predictor="V2"))
    pq.write_table(table(V1), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"V2 \(AESTHETIC_SCORE\).*V1 \(aesthetic\).*not mixed"):
        filter_rows(RunDir(tmp_path / "r3"), recipe(tmp_path))


def as_csv(rows: pa.Table) -> bytes:
    import io

    import pyarrow.csv as csv

    sink = io.BytesIO()
    csv.write_csv(rows, sink)
    return sink.getvalue()


def as_lines(rows: pa.Table) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows.to_pylist())


def as_arrow(rows: pa.Table, *, stream: bool = False) -> bytes:
    sink = pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize("name", [
    "x.csv", "x.csv.gz", "x.csv.zst", "x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.arrow",
    "stream.arrow", "x.parquet",
])  # fmt: skip
def test_every_format_gives_the_same_selection(tmp_path: Path, name: str) -> None:
    rows = table(V2).drop_columns(["__index_level_0__"])
    pq.write_table(rows, tmp_path / "plain.parquet")
    write = {"csv": as_csv, "jsonl": as_lines, "arrow": as_arrow}.get(name.split(".")[1])
    data = write(rows) if write else (tmp_path / "plain.parquet").read_bytes()
    if name.startswith("stream"):
        data = as_arrow(rows, stream=True)
    pack = {"gz": gzip.compress, "zst": zstd}.get(name.rpartition(".")[2], bytes)
    (tmp_path / name).write_bytes(pack(data))
    wanted = {"keywords": ("flower",), "min_score": 6.55}
    filter_rows(RunDir(tmp_path / "a"), recipe(tmp_path / "plain.parquet", **wanted))
    filter_rows(RunDir(tmp_path / "b"), recipe(tmp_path / name, **wanted))
    expected, found = (pq.read_table(tmp_path / run / "selected.parquet").to_pylist() for run in "ab")
    assert found == expected
    again = filter_rows(RunDir(tmp_path / "b"), recipe(tmp_path / name, **wanted))
    assert again.reused


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("twice.csv", b"url,url\nhttp://x/,http://y/\n"),
        ("ragged.csv", b"url,text\nhttp://x/1,a,b,c\n"),
        ("quoting.csv", b'url,text\nhttp://x/1,"never closed\nhttp://x/2,b\n' * 3),
        ("binary.csv", b"url,text\n\xff\xfe\x00,\x80\n"),
        ("array.json", b'[{"url": "http://x/"}]'),
        ("broken.jsonl", b'{"url": "http://x/"}\n{"url": \n'),
        ("kinds.jsonl", b'{"url": 1}\n{"url": "x"}\n'),
        ("cut.csv.gz", gzip.compress(b"url,text\nhttp://x/1,a\n" * 1000, mtime=0)[:-20]),
        ("cut.csv.zst", pa.compress(b"url,text\nhttp://x/1,a\n" * 1000, codec="zstd", asbytes=True)[:-10]),
        ("cut.arrow", b"ARROW1\0\0rubbish"),
        ("cut.parquet", b"PAR1rubbishPAR1"),
        ("nothing.jsonl", b"\n\n"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=name.replace(".", r"\.")):
        filter_rows(RunDir(tmp_path / "run"), recipe(tmp_path / name))
    assert {path.name for path in tmp_path.iterdir()} <= {name, "run"}


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    wrong = table(V2).set_column(7, "AESTHETIC_SCORE", pa.array([[1.0]] * 6))
    pq.write_table(wrong, tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="'AESTHETIC_SCORE' cannot be the score"):
        filter_rows(RunDir(tmp_path / "run"), recipe(tmp_path / "x.parquet", min_score=1.0))


PROGRAM = """
import resource, sys
from pathlib import Path
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.formats.to_parquet import convert_file
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    convert_file(path, path.parent / "out")
except SourceError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_ten_gigabytes_of_one_line_take_little_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"line.{suffix}"
    with path.open("wb") as file:
        file.write(b'{"url": "' if suffix == "jsonl" else b'url\n"')
        file.truncate(10 << 30)  # a hole: ten gigabytes of zeros, none of them on the disk
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True)
    message, megabytes = done.stdout.strip().rsplit("\n", 1)
    assert path.name in message
    assert int(megabytes) < 4 * (LONGEST_LINE >> 20)


@pytest.mark.parametrize("columns", [{"url": ["http://x/1", "http://x/1", None, "http://x/2"]}, None])
def test_a_source_of_few_columns_is_counted_row_by_row(
    tmp_path: Path, columns: dict[str, Any] | None
) -> None:
    """polars asks a predicate over one column about the column's dictionary, too."""
    texts = {
        "url": [f"http://x/{row}" for row in range(100)],
        "text": ["a flower", None, "a castle", "x"] * 25,
    }
    pq.write_table(pa.table(columns or texts), tmp_path / "x.parquet")
    report = filter_rows(
        RunDir(tmp_path / "run"), recipe(tmp_path / "x.parquet", keywords=() if columns else ("flower",))
    )
    assert (report.rows, report.selected) == ((4, 2) if columns else (100, 25))
