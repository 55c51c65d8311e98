"""Where pictures come from: img2dataset's shards and others, tars, folders, runs; in one fixed order."""

import io
import json
import random
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_files import JPEG, img2dataset_shard, run_folder, tar

from visunex.images.errors import ImageError
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.shards import members
from visunex.pipeline.shards import samples as shards
from visunex.pipeline.shards import tar as tars
from visunex.pipeline.shards.members import LeftOut
from visunex.pipeline.shards.samples import (
    Partition,
    Sample,
    listing,
    partitions,
    run_sources,
    samples,
    sources,
)


def found(*places: Path, left_out: LeftOut | None = None) -> list[Sample]:
    return list(samples(sources(places), left_out))


def test_img2dataset_shards_give_their_pictures_with_what_the_parquet_says(tmp_path: Path) -> None:
    img2dataset_shard(tmp_path, 1, 2)
    img2dataset_shard(tmp_path, 0, 2, failed=3)
    all_samples = found(tmp_path)
    assert [each.key for each in all_samples] == ["000000000", "000000001", "000010000", "000010001"]
    first, second = all_samples[:2]
    assert second.caption == "picture 1 of 0"
    assert (first.caption, first.url, first.score) == (None, "http://x/0/0", 7.0)
    assert first.where == "00000.tar/000000000.jpg"
    assert {each.read() for each in all_samples} == {JPEG}


def test_unfinished_shards_are_left_out_and_named(tmp_path: Path) -> None:
    for number in range(5):
        img2dataset_shard(tmp_path, number, 2, done=number != 1)
    for gone in ("00002.tar", "00003.tar", "00003.parquet", "00004.parquet"):
        (tmp_path / gone).unlink()
    (tmp_path / "00000_stats.json").write_text('{"coun')  # it is begun when the tar is whole
    tar(tmp_path / "more.tar", {"a.jpg": JPEG})
    left_out = LeftOut()
    given = found(tmp_path, left_out=left_out)
    assert [each.key[:5] for each in given] == ["00000", "00000", "00004", "00004", "a"]
    said = {Path(path).name: why for path, why in left_out.damaged.items()}
    assert said.keys() == {"00001.tar", "00002_stats.json", "00003_stats.json"}
    assert "no 00001_stats.json" in said["00001.tar"]
    assert "00003.tar is not there" in said["00003_stats.json"]
    for stats in tmp_path.glob("*_stats.json"):
        stats.unlink()
    assert len(found(tmp_path)) == 7  # no markers at all: not img2dataset's, all count


def test_other_webdatasets_say_it_in_json_and_txt(tmp_path: Path) -> None:
    described = {"Caption": "a ship", "URL": "http://s", "AESTHETIC_SCORE": 6.5}
    members = {
        "a.json": json.dumps(described).encode(),
        "a.png": odd.file(odd.gradient(), "PNG"),
        "b.webp": odd.file(odd.gradient(), "WEBP"),
        "b.txt": b" a tree\n",
        "c.json": b"{not json",
        "c.jpg": JPEG,
        "d.json": b"[1]",
        "d.jpg": JPEG,
        "e.mp4": b"film",
    }
    a, b, c, d = found(tar(tmp_path / "x.tar", members))
    assert (a.key, a.caption, a.url, a.score) == ("a", "a ship", "http://s", 6.5)
    assert (b.key, b.caption, b.score) == ("b", "a tree", None)
    assert (c.caption, d.caption) == (None, None)


def test_a_tar_of_plain_pictures_needs_no_webdataset_names(tmp_path: Path) -> None:
    members = {
        "trip.2022/one.JPG": JPEG,
        "trip.2022/holiday.2022.jpg": JPEG,
        "trip.2022/two.png": JPEG,
        "trip.2022/two.jpg": JPEG,
        "README": b"",
        "notes.txt": b"",
    }
    names = [each.where for each in found(tar(tmp_path / "x.tar", members))]
    assert names == [
        f"x.tar/trip.2022/{name}" for name in ("one.JPG", "holiday.2022.jpg", "two.png", "two.jpg")
    ]


def test_what_is_said_of_a_picture_may_stand_anywhere_in_a_tar(tmp_path: Path) -> None:
    members = [
        *((f"{name}.jpg", JPEG) for name in ("a", "in/a", "b")),
        *((f"{name}.txt", name.encode()) for name in ("b", "in/a", "a", "nobody")),
        ("a.jpg", JPEG),  # another tar was appended, whose names are the same
        ("a.txt", b"the other a"),
    ]
    left_out = LeftOut()
    given = list(samples(sources([tar(tmp_path / "x.tar", members)]), left_out))
    assert [(each.key, each.caption) for each in given] == [
        ("a", "a"), ("in/a", "in/a"), ("b", "b"), ("a", "the other a")
    ]  # fmt: skip
    assert left_out.members == {"not_a_picture_name": 1}


def test_a_folder_gives_its_pictures_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = [
        "b/2.jpg",
        "b/1.PNG",
        "a.webp",
        "c/d/e.tiff",
        "b/.hidden.jpg",
        ".git/x.jpg",
        "notes.txt",
        "z.jpeg",
    ]
    for name in random.Random(1).sample(names, len(names)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    left_out = LeftOut()
    assert [each.key for each in found(tmp_path, left_out=left_out)] == [
        "a.webp",
        "z.jpeg",
        "b/1.PNG",
        "b/2.jpg",
        "c/d/e.tiff",
    ]
    assert left_out.members == {"not_a_picture_name": 1, "hidden": 2}


def test_places_are_mixed_and_count_once(tmp_path: Path) -> None:
    picture = tmp_path / "p.jpg"
    picture.write_bytes(JPEG)
    (tmp_path / "folder").mkdir()
    shutil.copy(picture, tmp_path / "folder" / "q.jpg")
    shard = img2dataset_shard(tmp_path / "shards", 0, 1)
    places = [picture, tmp_path / "folder", shard, tmp_path / "shards", tmp_path / "folder"]
    assert [each.key for each in found(*places)] == ["p.jpg", "q.jpg", "000000000"]


def test_links_to_files_are_followed_and_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "real.jpg").write_bytes(JPEG)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(tmp_path / "real.jpg")
    (folder / "nowhere.jpg").symlink_to(tmp_path / "none.jpg")
    (folder / "loop").symlink_to(folder)
    import os

    os.mkfifo(folder / "pipe.jpg")
    left_out = LeftOut()
    assert [each.key for each in found(folder, left_out=left_out)] == ["link.jpg"]
    assert left_out.members == {"link": 1, "device": 1}


def test_names_that_are_not_text_do_not_end_the_job(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", encoding="latin-1") as archive:
        info = tarfile.TarInfo("caf\xe9.jpg")
        info.size = len(JPEG)
        archive.addfile(info, io.BytesIO(JPEG))
    (sample,) = found(tmp_path / "x.tar")
    sample.key.encode()
    assert sample.read() == JPEG


def test_a_run_gives_the_pictures_it_has_chosen(tmp_path: Path) -> None:
    run = run_folder(tmp_path, ["000000002", "000010000"])
    places = run_sources(run / "shards", run / "downloaded.parquet")
    assert [(each.key, each.caption, each.score) for each in samples(places)] == [
        ("000000002", "chosen 000000002", 9.0),
        ("000010000", "chosen 000010000", 9.0),
    ]
    assert found(run) == list(samples(places))


def test_chosen_pictures_that_are_not_in_their_shard_are_named(tmp_path: Path) -> None:
    run = run_folder(tmp_path, ["000000000", "000000001", "000010002"])
    tar(run / "shards" / "00000.tar", {"000000001.jpg": JPEG})
    parts = list(partitions(sources([run]), LeftOut()))
    assert [([each.key for each in part.samples], part.missing) for part in parts] == [
        (["000000001"], ()),
        ([], ("000000000",)),
        (["000010002"], ()),
    ]


def test_a_broken_table_is_named_and_a_broken_sidecar_only_costs_captions(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", ["000000000"])
    (run / "downloaded.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(EncodeError, match=r"downloaded.parquet cannot be read"):
        found(run)
    shard = img2dataset_shard(tmp_path / "shards", 0, 1)
    shard.with_suffix(".parquet").write_bytes(b"PAR1 nonsense")
    (sample,) = found(shard)
    assert sample.caption == "other"  # from the tar's own .txt
    pq.write_table(pa.table({"other": [1]}), shard.with_suffix(".parquet"))
    (sample,) = found(shard)
    assert sample.caption == "other"


def test_partitions_are_cut_to_a_size_and_end_with_their_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PARTITION", 4)
    tar(tmp_path / "a.tar", {f"{index}.jpg": JPEG for index in range(6)})
    tar(tmp_path / "b.tar", {f"{index}.jpg": JPEG for index in range(4)})
    parts: list[Partition] = list(partitions(sources([tmp_path]), LeftOut()))
    assert [(part.name, len(part.samples)) for part in parts] == [("a", 4), ("a", 2), ("b", 4)]


def test_a_listing_changes_with_the_pictures_and_only_with_them(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    before = listing(sources([tmp_path]))
    (tmp_path / "notes.txt").write_text("")
    assert listing(sources([tmp_path])) == before
    (tmp_path / "b.jpg").write_bytes(JPEG)
    assert listing(sources([tmp_path])) != before
    shard = tar(tmp_path / "shards" / "x.tar", {"a.jpg": JPEG})
    before = listing(sources([shard]))
    assert listing(sources([shard])) == before
    tar(shard, {"a.jpg": JPEG, "b.jpg": JPEG})
    assert listing(sources([shard])) != before


def test_places_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match=r"there are no pictures at .*nowhere"):
        sources([tmp_path / "nowhere"])


def test_pictures_that_change_underfoot_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    (sample,) = found(path)
    path.write_bytes(JPEG[:50])
    assert reason(sample) == "truncated"
    path.unlink()
    assert reason(sample) == "unreadable"
    path.write_bytes(JPEG)
    monkeypatch.setattr(members, "MAX_MEMBER", 100)
    assert reason(sample) == "too_large"


def reason(sample: Sample) -> str:
    with pytest.raises(ImageError) as caught:
        sample.read()
    return caught.value.kind


def test_reading_a_large_shard_keeps_no_list_of_its_members(tmp_path: Path) -> None:
    import tracemalloc

    path = tar(tmp_path / "x.tar", {f"{index:06d}.txt": b"" for index in range(6000)})
    tracemalloc.start()
    count = sum(1 for _ in tars.members(path, LeftOut()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 6000
    assert peak < 1_000_000


def test_samples_are_small_and_name_bytes_not_hold_them(tmp_path: Path) -> None:
    import pickle

    shard = tar(tmp_path / "x.tar", {"a.jpg": JPEG + bytes(np.random.default_rng(0).bytes(100_000))})
    (sample,) = found(shard)
    assert len(pickle.dumps(sample)) < 1000


def test_nothing_is_written_while_reading(tmp_path: Path) -> None:
    img2dataset_shard(tmp_path, 0, 2)
    before: dict[Path, Any] = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert len(found(tmp_path)) == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_rows_of_an_arrow_file_without_a_picture_are_told(new: Any, tmp_path: Path) -> None:
    file, kind = tmp_path / "a.arrow", pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": JPEG}, None, {"path": "x.jpg"}]
    table = pa.table({"image": pa.array(rows, kind), "caption": ["one", "two", None]})
    with new(str(file), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    first, *others = samples(sources([file]))
    assert (first.read(), first.caption) == (JPEG, "one")
    for each in others:
        with pytest.raises(ImageError, match="the row has no bytes"):
            each.read()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(EncodeError, match=r"no column with pictures"):
        sources([file])
