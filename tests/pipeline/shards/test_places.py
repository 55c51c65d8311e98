"""Pictures wherever people keep them: every one is read, or counted as left out with its reason."""

import io
import json
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_files import JPEG, img2dataset_shard, tar

from visunex.images.errors import ImageError
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.shards.members import LeftOut
from visunex.pipeline.shards.samples import Sample, samples, sources


def found(*places: Path | str) -> tuple[list[Sample], dict[str, int]]:
    left_out = LeftOut()
    given = list(samples(sources(places), left_out))
    assert left_out.damaged == {}
    return given, dict(left_out.members)


def names(given: list[Sample]) -> list[str]:
    return [Path(each.where).name for each in given]


class TestTars:
    """Whatever their members are called."""

    def test_names_with_further_dots_are_pictures_of_their_own(self, tmp_path: Path) -> None:
        members = ["photo.jpg", "photo.2.jpg", "photo.edited.JPG", "other.jpg"]
        given, left_out = found(tar(tmp_path / "x.tar", dict.fromkeys(members, JPEG)))
        assert (names(given), left_out) == (members, {})
        assert [each.key for each in given] == ["photo", "photo.2", "photo.edited", "other"]

    def test_a_sidecar_is_that_of_its_name_or_of_the_name_to_the_first_dot(self, tmp_path: Path) -> None:
        members = [
            ("a.2022.jpg", JPEG),
            ("a.2022.json", b'{"score": 5}'),
            ("a.2023.JSON", b'{"score": 6}'),
            ("a.2023.jpg", JPEG),
            ("b.left.jpg", JPEG),
            ("b.right.jpg", JPEG),
            ("b.json", b'{"score": 7}'),
        ]
        given, left_out = found(tar(tmp_path / "x.tar", members))
        assert [each.score for each in given] == [5, 6, 7, 7]
        assert left_out == {}

    def test_all_that_is_no_picture_is_counted(self, tmp_path: Path) -> None:
        members = {
            "noext": JPEG,
            "a.jpg": JPEG,
            "a.cls": b"1",
            "alone.txt": b"",
            "__MACOSX/._a.jpg": JPEG,
            "sub/.hidden.jpg": JPEG,
            "more.tar": b"",
            "more.zip": b"",
        }
        given, left_out = found(tar(tmp_path / "x.tar", members))
        assert names(given) == ["a.jpg"]
        assert left_out == {"not_a_picture_name": 3, "hidden": 2, "archive_inside": 2}

    @pytest.mark.parametrize("padding", [0, 512, 20 * 512])
    def test_tars_that_were_put_one_behind_the_other(self, tmp_path: Path, padding: int) -> None:
        whole = [tar(tmp_path / f"{name}.part", {f"{name}.jpg": JPEG}).read_bytes() for name in "abc"]
        path = tmp_path / "x.tar"
        path.write_bytes(bytes(padding).join(whole) + b"what is no header")
        given, left_out = found(path)
        assert (names(given), left_out) == (["a.jpg", "b.jpg", "c.jpg"], {})
        assert {each.read() for each in given} == {JPEG}


class TestFolders:
    """With what cameras, systems and people leave in them."""

    def test_tars_zips_and_pictures_side_by_side_and_below(self, tmp_path: Path) -> None:
        (tmp_path / "one.JPG").write_bytes(JPEG)
        (tmp_path / "_DSC1.jpg").write_bytes(JPEG)
        tar(tmp_path / "train" / "0.TAR", {"two.jpg": JPEG})
        with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
            archive.writestr("three.jpg", JPEG)
        img2dataset_shard(tmp_path / "shards_of_another", 0, 1)
        given, left_out = found(tmp_path)
        assert sorted(names(given)) == ["000000000.jpg", "_DSC1.jpg", "one.JPG", "three.jpg", "two.jpg"]
        assert set(left_out) == {"not_a_picture_name"}  # the parquet and the statistics of the shard

    def test_linked_folders_are_followed_once(self, tmp_path: Path) -> None:
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "a.jpg").write_bytes(JPEG)
        near = tmp_path / "near"
        near.mkdir()
        (near / "link").symlink_to(tmp_path / "far")
        (near / "once_more").symlink_to(tmp_path / "far")
        (tmp_path / "far" / "back").symlink_to(near)
        given, left_out = found(near)
        assert (names(given), left_out) == (["a.jpg"], {})

    def test_a_pattern_names_many(self, tmp_path: Path) -> None:
        for name in ("a/1.jpg", "a/2.png", "b/c/3.jpg"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(JPEG)
        assert names(found(f"{tmp_path}/**/*.jpg")[0]) == ["1.jpg", "3.jpg"]
        with pytest.raises(EncodeError, match="no pictures at"):
            sources([f"{tmp_path}/*.gif"])


class TestZips:
    """Read as they lie, whether their members are deflated or not."""

    def test_pictures_and_what_is_said_of_them(self, tmp_path: Path) -> None:
        path = tmp_path / "photos.ZIP"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("b/two.jpg", JPEG, zipfile.ZIP_DEFLATED)
            archive.writestr("b/two.txt", b"a ship " * 100, zipfile.ZIP_DEFLATED)
            archive.writestr("a.jpg", JPEG)
            archive.writestr("c.jpg", JPEG, zipfile.ZIP_LZMA)
            archive.writestr("../d.jpg", JPEG)
            archive.writestr("__MACOSX/._a.jpg", JPEG)
        given, left_out = found(path)
        assert names(given) == ["a.jpg", "two.jpg"]
        assert {each.read() for each in given} == {JPEG}
        assert given[1].caption == ("a ship " * 100).strip()
        assert left_out == {"other_compression": 1, "name_with_dots": 1, "hidden": 1}

    def test_a_bomb_gives_no_more_than_its_header_says(self, tmp_path: Path) -> None:
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.jpg", bytes(300 * 2**20))
        assert found(path) == ([], {"too_large": 1})

    def test_what_is_no_zip_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.zip").write_bytes(b"PK\3\4 and nothing more")
        left_out = LeftOut()
        assert list(samples(sources([tmp_path / "x.zip"]), left_out)) == []
        assert list(left_out.damaged) == [str(tmp_path / "x.zip")]


class TestParquet:
    """With the pictures inside."""

    def test_as_hugging_face_writes_it(self, tmp_path: Path) -> None:
        pictures = [odd.file(odd.gradient((20 + n, 20)), "PNG") for n in range(25)]
        column = [{"bytes": each, "path": f"{n}.png"} for n, each in enumerate(pictures)]
        column[3] = {"bytes": None, "path": "gone.png"}
        table = pa.table({"image": column, "text": [f"caption {n}" for n in range(25)]})
        (tmp_path / "data").mkdir()
        pq.write_table(table, tmp_path / "data" / "train-0.parquet", row_group_size=10)
        given, left_out = found(tmp_path)
        assert (len(given), left_out) == (25, {})
        assert given[7].caption == "caption 7"
        assert [given[n].read() for n in (0, 12, 24, 1, 9)] == [pictures[n] for n in (0, 12, 24, 1, 9)]
        with pytest.raises(ImageError) as caught:
            given[3].read()
        assert caught.value.kind == "empty"

    def test_as_img2dataset_writes_it(self, tmp_path: Path) -> None:
        rows = [
            {"key": f"00000000{n}", "caption": "c", "url": "u", "score": 6.5, "jpg": JPEG} for n in (0, 1)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "00000.parquet")
        given, _ = found(tmp_path)
        assert [(each.key, each.score, each.url) for each in given] == [
            ("000000000", 6.5, "u"),
            ("000000001", 6.5, "u"),
        ]
        assert {each.read() for each in given} == {JPEG}

    def test_one_without_pictures_is_refused_where_it_is_named(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"url": ["u"]}), tmp_path / "x.parquet")
        with pytest.raises(EncodeError, match="no column with pictures"):
            sources([tmp_path / "x.parquet"])

    def test_a_large_one_beside_a_shard_costs_little(self, tmp_path: Path) -> None:
        """Many rows that the shard does not have, and one text, long and repeated."""
        shard = tar(tmp_path / "x.tar", {"a.jpg": JPEG, "b.jpg": JPEG, "b.json": json.dumps({}).encode()})
        count = 200_000
        keys = pa.array([f"{n:09d}" for n in range(count - 1)] + ["a"])
        captions = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["long" * 250_000])
        pq.write_table(pa.table({"key": keys, "caption": captions}), shard.with_suffix(".parquet"))
        before = pa.total_allocated_bytes()
        pa.default_memory_pool().release_unused()
        tracemalloc.start()
        given, _ = found(shard)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [len(each.caption or "") for each in given] == [1_000_000, 0]
        assert peak < 20 * 2**20
        assert pa.total_allocated_bytes() - before < 20 * 2**20

    def test_a_caption_that_is_not_utf_8_costs_no_other(self, tmp_path: Path) -> None:
        shard = tar(tmp_path / "x.tar", {"a.jpg": JPEG, "b.jpg": JPEG})
        captions = pa.array([b"caf\xe9", b"fine"]).view(pa.string())
        pq.write_table(pa.table({"key": ["a", "b"], "caption": captions}), shard.with_suffix(".parquet"))
        assert [each.caption for each in found(shard)[0]] == ["caf\ufffd", "fine"]


def test_what_the_download_reads_tars_with_knows_those_behind_the_first(tmp_path: Path) -> None:
    from visunex.pipeline.shards.tar import archives, headers

    both = b"".join(tar(tmp_path / f"{name}.part", {f"{name}.jpg": JPEG}).read_bytes() for name in "ab")
    members = [info.name for archive in archives(io.BytesIO(both)) for info in headers(archive)]
    assert members == ["a.jpg", "b.jpg"]
    assert tarfile.is_tarfile(io.BytesIO(both))
