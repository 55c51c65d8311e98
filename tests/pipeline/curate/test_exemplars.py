"""`pictures --exemplars`: of each group of a run's pictures the one most like the others."""

import json
from pathlib import Path

import numpy as np
import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from shard_files import tar

from visunex.pipeline.cli import main
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.reduce.groups import group_vectors
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Encode, Recipe

COLOURS = ((230, 40, 30), (30, 60, 220), (240, 240, 235))
COUNTS = (5, 4, 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of pictures of three colours."""
    folder = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    files, rows = {}, []
    for colour, count in zip(COLOURS, COUNTS, strict=True):
        for _ in range(count):
            noise = random.integers(-12, 13, (40, 40, 3)) + np.array(colour)
            key = f"00000{len(rows):04d}"
            files[f"{key}.jpg"] = odd.file(Image.fromarray(noise.clip(0, 255).astype(np.uint8)), "PNG")
            rows.append({"key": key, "url": f"https://h/{key}", "rights": "CC0", "chosen": True})
    tar(folder / "run" / "shards" / "00000.tar", files)
    (folder / "run" / "shards" / "00000_stats.json").write_text("{}")
    pq.write_table(pa.Table.from_pylist(rows), folder / "run" / "downloaded.parquet")
    found = RunDir(folder / "run")
    found.record("filter", {"license_column": "rights"})
    made = Encode(model=odd.small_model(folder / "model"), workers=0)
    with found.locked():
        encode(found, Recipe(name="x", encode=made))
    return found


def pictures(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["pictures", *map(str, arguments)], prog_name="visunex-data")


def test_there_is_one_for_each_group_and_it_is_the_medoid(run: RunDir, tmp_path: Path) -> None:
    sheet = tmp_path / "s.png"
    done = pictures(run.path, "--exemplars", 3, "--out", tmp_path / "out", "--sheet", sheet, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)["exemplars"]
    assert [each["images"] for each in said] == list(COUNTS)
    vectors = read_vectors(run.vectors)
    units = np.concatenate(list(vectors.units())).astype(np.float64)
    names = pq.read_table(vectors.parts[0].metadata)["image_path"].to_pylist()
    groups = group_vectors(vectors, 3)
    assert groups is not None
    for each in said:
        places = np.flatnonzero(groups.of == each["group"])
        cosines = (units[places] @ units[places].T).sum(axis=1) - 1
        assert each["where"] == names[places[np.argmax(cosines)]]
        assert each["cosine"] == pytest.approx(cosines.max() / (len(places) - 1), abs=1e-6)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert [(each["license"], each["url"]) for each in lines] == [
        (each["license"], each["url"]) for each in said
    ]
    assert {each["license"] for each in said} == {"CC0"}
    colours = [
        np.asarray(Image.open(tmp_path / "out" / each["file_name"])).mean(axis=(0, 1)) for each in lines
    ]
    assert {int(np.argmin([np.abs(np.array(own) - mean).sum() for own in COLOURS])) for mean in colours} == {
        0,
        1,
        2,
    }
    with Image.open(sheet) as shown:
        assert shown.size == (2 * 166 + 6, 2 * 166 + 6)


def test_a_person_is_told_their_licences_and_links(run: RunDir, tmp_path: Path) -> None:
    done = pictures(run.path, "--exemplars", 2, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "2 pictures" in done.stdout
    assert "  CC0  https://h/00000" in done.stdout
    more = pictures(run.path, "--exemplars", 40, "--out", tmp_path / "all", "--json")
    assert len(json.loads(more.stdout)["exemplars"]) == sum(COUNTS)


def test_what_has_no_vectors_has_no_exemplars(run: RunDir, tmp_path: Path) -> None:
    place = run.shards
    assert "is no run" in pictures(place, "--exemplars", 2, "--out", tmp_path / "out").stderr
    alone = pictures(run.path, "--out", tmp_path / "out", "--sheet", tmp_path / "s.png")
    assert "--sheet is for --exemplars" in alone.stderr
    wrong = pictures(run.path, "--exemplars", 2, "--out", tmp_path / "out", "--sheet", tmp_path / "s.gif")
    assert "name a .png" in wrong.stderr
    assert not (tmp_path / "out").exists()
