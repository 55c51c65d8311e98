"""How much is moved from files behind addresses: what holds the chosen pictures, said before, and bounded."""

import random
from collections.abc import Iterator
from pathlib import Path

import odd
import picture_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from standin import Page, StandIn, serving
from standin_hub import publish

from visunex.pipeline.cli import main
from visunex.pipeline.inside.location import parse
from visunex.pipeline.rundir import RunDir

FILES, ROWS, GROUP, TOP = 5, 200, 25, 10


@pytest.fixture
def web() -> Iterator[StandIn]:
    with serving({}) as server:
        yield server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, web: StandIn) -> StandIn:
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hub" / "token"))
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    return web


def invoked(*arguments: str, run: Path, fails: bool = False) -> str:
    result = CliRunner().invoke(main, [*arguments, "--run", str(run)])
    assert result.exit_code == int(fails), result.output
    return result.output


def pictures(count: int) -> list[dict[str, object]]:
    """Pictures of 20 kB; of each hundred one is a flower."""
    whole = odd.file(odd.gradient(), "JPEG")
    return [
        {
            "picture": whole[:2] + b"".join(_comment(row * 3 + part) for part in range(3)) + whole[2:],
            "caption": "a flower" if row % 100 == 37 else "a castle",
            "aesthetic_score": 5 + row / count,
        }
        for row in range(count)
    ]


def _comment(seed: int) -> bytes:
    """A JPEG's comment of some kilobytes that do not repeat."""
    data = random.Random(seed).randbytes(6800)
    return b"\xff\xfe" + (len(data) + 2).to_bytes(2, "big") + data


@pytest.mark.parametrize("index", [False, True])
def test_of_parquet_the_row_groups_or_pages_that_hold_the_pictures(
    index: bool, hub: StandIn, tmp_path: Path
) -> None:
    found, files = pictures(FILES * ROWS), {}
    for number in range(FILES):
        rows = found[number * ROWS : (number + 1) * ROWS]
        table = pa.table(
            {"image": [{"bytes": each["picture"], "path": "a.jpg"} for each in rows]}
            | {name: [each[name] for each in rows] for name in ("caption", "aesthetic_score")}
        )
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=ROWS if index else GROUP, write_page_index=index,
                       use_dictionary=not index, write_batch_size=5, data_page_size=1)  # fmt: skip
        files[f"data/train-{number:05d}-of-00005.parquet"] = path.read_bytes()
    publish(hub, "someone/pictures", files)
    run = tmp_path / "run"
    invoked("filter", "someone/pictures", "--keywords", "flower", "--top", str(TOP), run=run)
    assert hub.sent < sum(map(len, files.values())) / 3  # polars reads half a megabyte of each file's end
    refused = invoked("download", "--max-remote-bytes", "200 kB", run=run, fails=True)
    assert "no more than 200 kB may be: --max-remote-bytes " in refused
    before = hub.sent
    said = invoked("download", "--processes", "1", "--dedupe-images", "none", run=run)
    assert f"in {FILES if index else TOP} row groups of {FILES} files" in said
    holding = 5 if index else GROUP  # pictures in a page or row group
    moved, size = hub.sent - before, len(found[0]["picture"])  # type: ignore[arg-type]
    assert TOP * holding * size < moved < 1.3 * TOP * holding * size


def test_of_a_tar_the_chosen_members(web: StandIn, tmp_path: Path) -> None:
    tar = picture_sets.webdataset(tmp_path / "set.tar", pictures(400)).read_bytes()  # type: ignore[arg-type]
    web.pages["/set.tar"] = Page(tar)
    run, source = tmp_path / "run", f"{web.address}/set.tar"
    asked = ["filter", source, "--keywords", "flower", "--top", "4"]
    refused = invoked(*asked, "--max-remote-bytes", "5MB", run=run, fails=True)
    assert "MB of 1 file are to be moved, and no more than 5MB may be: --max-remote-bytes " in refused
    assert web.sent < 10_000
    keyed = invoked("run", "--set", f"source.data={source}", "--set", "download.max_remote_bytes=5MB",
                    "demo_flower", run=tmp_path / "other", fails=True)  # fmt: skip
    assert "no more than 5MB may be: --set download.max_remote_bytes=" in " ".join(keyed.split())
    said = invoked(*asked, run=run)
    assert "to be read, to know where the pictures are: 9." in said
    before = web.sent
    assert "to be moved: " in invoked("download", "--processes", "1", run=run)
    places = map(parse, pq.read_table(RunDir(run).selected)["location"].to_pylist())
    own = sum(place.size or 0 for place in places)
    assert own <= web.sent - before < 1.1 * own


def test_a_table_that_polars_cannot_read_still_says_where_its_pictures_lie(
    web: StandIn, tmp_path: Path
) -> None:
    """A byte that is no UTF-8 has it converted: without the pictures, and with its bytes said before."""
    found = pictures(40)
    captions = [str(each["caption"]).encode() for each in found]
    captions[3] = b"\xff\xfe castle"
    columns = {"image": [{"bytes": each["picture"]} for each in found], "score": range(40)}
    caption = pa.array(captions, pa.binary()).view(pa.string())
    pq.write_table(pa.table({**columns, "caption": caption}), tmp_path / "a.parquet", row_group_size=10)
    web.pages["/a.parquet"] = Page((tmp_path / "a.parquet").read_bytes())
    run, source = RunDir(tmp_path / "run"), f"{web.address}/a.parquet"
    asked = ["filter", source, "--keywords", "flower", "--top", "1"]
    assert "--max-remote-bytes" in invoked(*asked, "--max-remote-bytes", "1kB", run=run.path, fails=True)
    assert "pictures are: 8" in invoked(*asked, run=run.path)
    place = f"{source}#row={37:014d}&column=image.bytes"
    assert pq.read_table(run.selected)["location"].to_pylist() == [place]
    kept = sum(file.stat().st_size for file in (run.path / ".visunex" / "source").rglob("*.parquet"))
    assert kept < 10_000
