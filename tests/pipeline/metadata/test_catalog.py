"""The data sets known by name: the LAION family by schema, and the commands that show them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from laion import FAMILY, V1, V2, recipe, table

from visunex.pipeline.cli import main
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.metadata.catalog import data_sets
from visunex.pipeline.rundir import RunDir


def test_the_catalogue_says_what_each_set_is() -> None:
    for name, known in data_sets().items():
        assert known.name == name
        assert known.about
        assert known.checked
        assert known.addresses or known.note


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


def test_every_named_set_of_the_family_is_in_the_catalogue() -> None:
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
