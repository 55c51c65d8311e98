"""Selections and files that changed between filter and download: another file is never read in silence."""

from pathlib import Path

import picture_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from downloads import rows
from standin import Page, serving

from visunex.pipeline.cli import main
from visunex.pipeline.rundir import RunDir


def invoked(*arguments: str, run: RunDir, fails: bool = False) -> str:
    result = CliRunner().invoke(main, [*arguments, "--run", str(run.path)])
    assert result.exit_code == int(fails), result.output
    return " ".join(result.output.split())


def relocated(run: RunDir, places: list[str]) -> None:
    """Let the best rows of the selection have their pictures elsewhere."""
    table = pq.read_table(run.selected)
    found = [*places, *table["location"].to_pylist()[len(places) :]]
    at = table.schema.get_field_index("location")
    pq.write_table(table.set_column(at, "location", pa.array(found)), run.selected)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    source = picture_sets.webdataset(tmp_path / "set.tar", picture_sets.records(20))
    made = RunDir(tmp_path / "run")
    invoked("filter", str(source), "--top", "10", run=made)
    return made


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd",
        "/etc/hostname",
        "/etc#file=passwd",
        "{source}/../other.tar#bytes=00000000000512+10&name=a.jpg",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:9/a.tar#bytes=0+10&name=a.jpg",
        "s3://bucket/key#row=1&column=jpg",
        "hf://datasets/a/b@c/d.parquet#row=1&column=jpg",
        "{source}#bytes=-512+10&name=a.jpg",
        "{source}#row=-1&column=jpg",
    ],
)
def test_a_picture_elsewhere_is_refused(place: str, run: RunDir, tmp_path: Path) -> None:
    relocated(run, [place.format(source=tmp_path / "set.tar")])
    said = invoked("download", run=run, fails=True)
    assert "was changed since filter made it: its pictures do not lie in " in said
    assert f"`visunex-data filter --run {run.path} --overwrite`" in said


def test_places_that_cannot_be_in_the_file_cost_the_picture(run: RunDir, tmp_path: Path) -> None:
    inside = ["bytes=9999999999+10&name=a.jpg", "bytes=512+999999999999999999&name=a.jpg",
              "bytes=512+0&name=a.jpg", "bytes=0+512&name=a.jpg", "zip=0+10&packed=deflate&name=a.jpg",
              "zip=9999999999+10&name=a.jpg"]  # fmt: skip
    relocated(run, [f"{tmp_path / 'set.tar'}#{each}" for each in inside])
    invoked("download", "--processes", "1", run=run)
    assert [row["status"] == "success" for row in rows(run)] == [False] * 6 + [True] * (len(rows(run)) - 6)


def test_a_selection_that_filter_did_not_make_says_nothing_of_places(run: RunDir) -> None:
    (run.path / ".visunex" / "places.json").unlink()
    assert "was not made by filter" in invoked("download", run=run, fails=True)


@pytest.mark.parametrize("remote", [False, True])
def test_a_file_that_changed_is_another(remote: bool, tmp_path: Path) -> None:
    """The rows' numbers mean other pictures now."""
    path, run = tmp_path / "a.parquet", RunDir(tmp_path / "run")
    found = picture_sets.records(20)
    picture_sets.table(path, found)
    with serving({"/a.parquet": Page(path.read_bytes(), headers={"ETag": '"1"'})}) as web:
        source = f"{web.address}/a.parquet" if remote else str(path)
        invoked("filter", source, "--top", "5", run=run)
        picture_sets.table(path, found[::-1])
        web.pages["/a.parquet"] = Page(path.read_bytes(), headers={"ETag": '"2"'})
        said = invoked("download", "--processes", "1", run=run, fails=True)
        assert f"{source} has changed since {run.selected} was made of it; `visunex-data filter --run" in said
        if not remote:
            invoked("filter", source, "--top", "5", "--overwrite", run=run)
            invoked("download", "--processes", "1", run=run)
