"""Taking pictures out of a run: only those that count, byte for byte, in forms that others read."""

import gc
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from shard_files import tar

from visunex.pipeline.cli import main
from visunex.pipeline.rundir import RunDir

FORMATS = ["JPEG", "PNG", "WEBP", "GIF"]
COUNT, LEFT_OUT = 12, (3, 11)  # pictures, and the ranks of those that do not count


def picture(rank: int) -> bytes:
    return odd.file(odd.gradient((40 + rank, 30)), FORMATS[rank % len(FORMATS)])


CHOSEN = [rank for rank in range(COUNT) if rank not in LEFT_OUT]
HASHES = [hashlib.sha256(picture(rank)).hexdigest() for rank in CHOSEN]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two shards, each picture called .jpg whatever it is, as img2dataset calls them."""
    path = tmp_path_factory.mktemp("runs") / "taste"
    keys = [f"0000{rank // 10}000{rank % 10}" for rank in range(COUNT)]
    for shard in (0, 1):
        ranks = [rank for rank in range(COUNT) if rank // 10 == shard]
        tar(path / "shards" / f"0000{shard}.tar", {f"{keys[rank]}.jpg": picture(rank) for rank in ranks})
        (path / "shards" / f"0000{shard}_stats.json").write_text("{}")
    columns = {
        "key": keys,
        "url": [f"https://h/{rank}.jpg" if rank else "/home/me/set.parquet#row=0" for rank in range(COUNT)],
        "caption": [f"a rosé, number {rank}\u2028" if rank != 1 else None for rank in range(COUNT)],
        "score": [float("nan") if rank == 2 else 8 - rank / 10 for rank in range(COUNT)],
        "rights": ["CC0"] * COUNT,
        "chosen": [rank not in LEFT_OUT for rank in range(COUNT)],
    }
    pq.write_table(pa.table(columns), path / "downloaded.parquet")
    RunDir(path).record("filter", {"license_column": "rights"})
    return path


def pictures(*arguments: str | Path, fails: int = 0) -> str:
    result = CliRunner().invoke(main, ["pictures", *map(str, arguments)])
    assert result.exit_code == fails, result.output
    return " ".join(result.output.split())


def hashes(files: list[bytes]) -> list[str]:
    return [hashlib.sha256(each).hexdigest() for each in files]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").split("\n")
        if line
    ]


def test_a_folder_has_the_chosen_pictures_best_first_with_true_endings(run: Path, tmp_path: Path) -> None:
    said = pictures(run, "--out", tmp_path / "out")
    assert "10 pictures" in said
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != "metadata.jsonl")
    endings = [{"JPEG": "jpg"}.get(FORMATS[rank % 4], FORMATS[rank % 4].lower()) for rank in CHOSEN]
    assert names == [f"{number:05d}.{ending}" for number, ending in enumerate(endings)]
    assert hashes([(tmp_path / "out" / name).read_bytes() for name in names]) == HASHES
    rows = lines(tmp_path / "out")
    assert [row["file_name"] for row in rows] == names
    assert [row["sha256"] for row in rows] == HASHES
    assert rows[0] | {"sha256": ""} == {
        "file_name": "00000.jpg", "text": "a rosé, number 0\u2028", "score": 8.0, "license": "CC0",
        "url": None, "key": "000000000", "sha256": "",
    }  # fmt: skip
    assert (rows[1]["text"], rows[1]["url"], rows[2]["score"]) == ("", "https://h/1.jpg", None)


@pytest.mark.filterwarnings("ignore")
def test_datasets_reads_all_of_them(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    pictures(run, "--out", tmp_path / "folder")
    pictures(run, "--to", "parquet", "--out", tmp_path / "parquet")
    for kind, settings in (
        ("imagefolder", {"data_dir": str(tmp_path / "folder")}),
        ("parquet", {"data_files": str(tmp_path / "parquet" / "*.parquet")}),
    ):
        found = datasets.load_dataset(kind, **settings, split="train", cache_dir=str(tmp_path / "cache"))
        assert [row["sha256"] for row in found] == HASHES
        assert [row["text"] for row in found][:2] == ["a rosé, number 0\u2028", ""]
        sizes = [row["image"].size for row in found]
        assert sizes == [(40 + rank, 30) for rank in CHOSEN]
        raw = found.cast_column("image", datasets.Image(decode=False))
        if kind == "parquet":
            assert hashes([row["image"]["bytes"] for row in raw]) == HASHES


@pytest.mark.filterwarnings("ignore")  # it leaves files open
def test_webdataset_reads_all_of_them(run: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    pictures(run, "--to", "wds", "--out", tmp_path / "out")
    found = list(webdataset.WebDataset(str(tmp_path / "out" / "00000.tar"), shardshuffle=False))
    files = [next(each[name] for name in ("jpg", "png", "webp", "gif") if name in each) for each in found]
    assert hashes(files) == HASHES
    assert [json.loads(each["json"])["sha256"] for each in found] == HASHES
    assert found[0]["txt"].decode() == "a rosé, number 0\u2028"
    gc.collect()


def test_the_same_seed_is_the_same_order(run: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        pictures(run, "--shuffle", seed, "--out", tmp_path / name)
    orders = [[row["sha256"] for row in lines(tmp_path / name)] for name in ("a", "b", "c")]
    assert orders[0] == orders[1] != HASHES
    assert orders[2] not in (orders[0], HASHES)
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(HASHES)


def test_resized_ones_are_smaller_jpegs(run: Path, tmp_path: Path) -> None:
    pictures(
        run, "--resize", "16", "--resize-mode", "center-crop", "--to", "parquet", "--out", tmp_path / "out"
    )
    rows = pq.read_table(tmp_path / "out" / "00000.parquet").to_pylist()
    images = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows]
    assert {(image.format, image.size) for image in images} == {("JPEG", (16, 16))}
    assert hashes([row["image"]["bytes"] for row in rows]) == [row["sha256"] for row in rows]


def test_any_pictures_can_be_taken_out_and_what_is_none_is_counted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, data in (("a.jpg", picture(1)), ("b.png", b"<html>"), ("c.gif", b"")):
        (tmp_path / "in" / name).write_bytes(data)
    said = pictures(tmp_path / "in", "--out", tmp_path / "out")
    assert "1 picture," in said
    assert "1 left out: not an image" in said or "1 left out: html" in said
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["00000.png", "metadata.jsonl"]


def test_nothing_of_a_persons_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert "is there and not empty: name a new folder" in pictures(run, "--out", tmp_path, fails=2)
    (tmp_path / "empty").mkdir()
    pictures(run, "--out", tmp_path / "empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mine.txt"]


def test_a_run_without_pictures_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    RunDir(tmp_path / "run").record("filter", {})
    assert "visunex-data download --run" in pictures(tmp_path / "run", "--out", tmp_path / "out", fails=2)
    assert not (tmp_path / "out").exists()
    assert "no such file or folder" in pictures(tmp_path / "no", "--out", tmp_path / "out", fails=1)


def test_the_folder_that_one_is_in_stays(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "--out . is the folder that you are in: name a new one" in pictures(run, "--out", ".", fails=2)
    assert Path.cwd().exists()
