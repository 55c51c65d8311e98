"""Sets with the pictures inside in a bucket of S3, from a question to shards."""

from collections.abc import Iterator
from pathlib import Path

import picture_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from downloads import pictures, rows
from standin import StandIn, serving
from standin_bucket import filled, unsigned

from visunex.pipeline.cli import main
from visunex.pipeline.rundir import RunDir


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    with serving({}) as web:
        unsigned(monkeypatch, web, tmp_path)
        yield web


@pytest.mark.parametrize(("form", "signed"), [("parquet", False), ("tar", True), ("zip", False)])
def test_pictures_in_a_bucket(
    form: str, signed: bool, bucket: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"parquet": picture_sets.table, "tar": picture_sets.webdataset, "zip": picture_sets.zipped}[form]
    found = picture_sets.records()
    parts = {f"set/{n}.{form}": made(tmp_path / f"{n}.{form}", found[n::2]).read_bytes() for n in range(2)}
    filled(bucket, {**parts, "set/LICENSE": b"CC0"})
    if signed:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    run = RunDir(tmp_path / "run")
    for asked in (["filter", "s3://pictures/set/", "--keywords", "flower", "--top", "6"],
                  ["download", "--processes", "1"]):  # fmt: skip
        result = CliRunner().invoke(main, [*asked, "--run", str(run.path)])
        assert result.exit_code == 0, result.output
    assert "to be moved: " in result.output
    flowers = [each for each in found if "flower" in each["caption"]]
    best = sorted(flowers, key=lambda each: -each["aesthetic_score"])[:6]
    files = pictures(run)
    assert {files[row["key"]] for row in rows(run) if row["chosen"]} == {each["picture"] for each in best}
    places = pq.read_table(run.selected)["location"].to_pylist()
    assert {place.partition("#")[0] for place in places} == {f"s3://pictures/{name}" for name in parts}
    assert any("Credential=me/" in (token or "") for _, token in bucket.asked) == signed


def test_links_to_a_bucket_are_taken_where_the_column_is_named(bucket: StandIn, tmp_path: Path) -> None:
    found, run = picture_sets.records(4), tmp_path / "run"
    filled(bucket, {f"img/{row}.jpg": each["picture"] for row, each in enumerate(found)})
    links = [f"s3://pictures/img/{row}.jpg" for row in range(4)]
    pq.write_table(pa.table({"url": links, "caption": ["a rose"] * 4}), tmp_path / "m.parquet")
    asked = ["filter", str(tmp_path / "m.parquet"), "--top", "2", "--run", str(run)]
    outputs = [CliRunner().invoke(main, each).output for each in (asked, ["download", "--run", str(run)])]
    assert "where filter is told so: --image-column url" in outputs[1]
    CliRunner().invoke(main, [*asked, "--image-column", "url", "--overwrite"])
    done = CliRunner().invoke(main, ["download", "--run", str(run), "--processes", "1", "--overwrite"])
    assert done.exit_code == 0, done.output
    assert {each["picture"] for each in found[:2]} <= set(pictures(RunDir(run)).values())


def test_a_bucket_that_only_a_stranger_s_table_names_is_not_read(bucket: StandIn, tmp_path: Path) -> None:
    (picture,) = (each["picture"] for each in picture_sets.records(1))
    filled(bucket, {"private.jpg": picture})
    (tmp_path / "set").mkdir()
    table = "file_name,caption\ns3://pictures/private.jpg,a rose\n"
    (tmp_path / "set" / "metadata.csv").write_text(table)
    bucket.asked.clear()
    run = tmp_path / "run"
    asked = ["filter", str(tmp_path / "set"), "--top", "1", "--run", str(run)]
    assert CliRunner().invoke(main, asked).exit_code == 0
    done = CliRunner().invoke(main, ["download", "--run", str(run), "--processes", "1"])
    assert "name its column with --image-column" in done.output + str(rows(RunDir(run)))
    assert not bucket.asked
