"""The data sets known by name: the LAION family by schema, and the commands that show them."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from laion import FAMILY, V1, V2, recipe, table

from visunex.pipeline.cli import main
from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.metadata.catalog import entries
from visunex.pipeline.metadata.catalog.entries import data_sets
from visunex.pipeline.metadata.resolve import resolve_source
from visunex.pipeline.metadata.table import open_table, require_predictor
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Columns


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


OTHERS = sorted(
    name
    for name in data_sets().keys() - FAMILY.keys()
    if ("laion" in name or "aesthetics" in name) and name != "laion-pop"
)


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


KINDS: dict[str, pa.DataType] = {
    "string": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(),
    "float64": pa.float64(), "not verified": pa.string(), "bool": pa.bool_(), "binary": pa.binary(),
    "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "list of int32": pa.list_(pa.int32()),
    "list of list of float64": pa.list_(pa.list_(pa.float64())),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("coyo-700m", {"score": "aesthetic_score_laion_v2", "similarity": "clip_similarity_vitl14"}),
        ("coyo-700m", {"pwatermark": "watermark_score", "caption": "text"}),
        ("datacomp_1b", {"width": "original_width", "similarity": "clip_l14_similarity_score"}),
        ("PD3M", {"url": "url", "caption": "caption", "hash": "hash"}),
        ("commoncatalog-cc-by", {"url": "url", "caption": "blip2_caption", "width": "width"}),
        ("pd-extended", {"caption": "caption", "score": "aesthetic_score"}),
        ("AVA", {"score": "mean_score", "ratings": "total_votes"}),
        ("cleveland", {"url": "image_web", "caption": "title"}),
        ("artic", {"url": "url", "caption": "title"}),
    ],
)  # fmt: skip
def test_the_columns_of_a_set_are_understood(tmp_path: Path, name: str, roles: dict[str, str]) -> None:
    columns = data_sets()[name].columns.items()
    pq.write_table(
        pa.table({column: pa.array([None], KINDS[kind]) for column, kind in columns}), tmp_path / "a.parquet"
    )
    named = data_sets()[name]
    source = resolve_source(str(tmp_path / "a.parquet"))
    found = open_table(source, Columns().model_copy(update=named.roles), made=named.made)
    assert roles.items() <= dict(found.roles).items()
    require_predictor(replace(found, source=replace(source, name=name)), named.predictor)
    if name == "pd-extended":
        with pytest.raises(SourceError, match="a predictor that nobody names"):
            require_predictor(replace(found, source=replace(source, name=name)), "V2")
        require_predictor(found, "V1")  # of another file with such a column nothing is known, least of all V2


def test_a_museums_links_are_put_together_from_its_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the catalogue and by an option; a row without an id has no link, and codes keep their zeros."""
    (tmp_path / "works.csv").write_text(
        "id,title,url,image_id\n1,Water Lilies,https://museum/1,0012\n2,A flower,https://museum/2,\n"
        "3,Flowers,https://museum/3,b7-c\n"
    )
    link = "https://iiif.museum/2/{image_id}/full/843,/0/default.jpg"
    museum = entries.DataSet(
        "museum", "a museum", (str(tmp_path / "works.csv"),), roles={"caption": "title"}, made={"url": link}
    )
    monkeypatch.setattr(entries, "data_sets", lambda: {"museum": museum})
    runs = (["museum"], [str(tmp_path / "works.csv"), "--made-url", link.replace("image", "IMAGE")])
    expected = {link.replace("{image_id}", part) for part in ("0012", "b7-c")}
    for number, given in enumerate(runs):
        run = tmp_path / f"run{number}"
        done = CliRunner().invoke(main, ["filter", *given, "--run", str(run), "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["dropped"]["no_url"] == 1
        rows = pq.read_table(run / "selected.parquet").to_pylist()
        assert {row["url"] for row in rows} == expected
        assert {row["source_url"] for row in rows} == {"https://museum/1", "https://museum/3"}
    for bad, said in (
        ("https://x/{nothing}.jpg", "needs a column 'nothing'"),
        ("https://x/1.jpg", "names no column"),
    ):
        done = CliRunner().invoke(
            main, ["filter", runs[1][0], "--made-url", bad, "--run", str(tmp_path / "bad")]
        )
        assert done.exit_code == 1
        assert said in done.output


def test_the_commands_list_show_and_convert(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["sources", "list"]).output
    assert "laion-art" in listed
    assert "relaion-art*" in listed
    every = json.loads(CliRunner().invoke(main, ["sources", "list", "--json"]).stdout)
    assert (every["PD3M"]["hash"], every["relaion-art"]["gated"]) == ("md5", True)
    assert every["improved_aesthetics_6.5plus"]["else"][0]["min_score"] == 6.5
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
