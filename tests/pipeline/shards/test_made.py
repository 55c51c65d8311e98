"""A shard counts as made while its files are what they were when it was made."""

import os
import shutil
from pathlib import Path

import pytest
from shard_files import img2dataset_shard, tar

from visunex.pipeline.shards.made import is_made, note_files
from visunex.pipeline.shards.naming import ROWS, STATS, TAR


def shard(folder: Path, *, noted: bool) -> Path:
    path = img2dataset_shard(folder, 0, 3, failed=1)
    if noted:
        note_files(folder / f"00000{STATS}", path, path.with_suffix(ROWS))
    return path


@pytest.mark.parametrize("content", ["", "{", "3", '{"count": 1}'])
def test_a_shard_without_all_of_its_files_is_not_made(tmp_path: Path, content: str) -> None:
    assert not is_made(tmp_path, 0)
    path = img2dataset_shard(tmp_path, 0, 3, done=False)
    assert not is_made(tmp_path, 0)
    (tmp_path / f"00000{STATS}").write_text(content)
    assert is_made(tmp_path, 0) == (content == '{"count": 1}')
    for kind in (TAR, ROWS):
        (gone := path.with_suffix(kind)).rename(tmp_path / "elsewhere")
        assert not is_made(tmp_path, 0)
        (tmp_path / "elsewhere").rename(gone)


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("kind", [TAR, ROWS])
@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_file_that_was_cut_is_noticed(tmp_path: Path, noted: bool, kind: str, left: float) -> None:
    path = shard(tmp_path, noted=noted).with_suffix(kind)
    state = path.stat()
    os.truncate(path, int(state.st_size * left))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not is_made(tmp_path, 0)


@pytest.mark.parametrize("noted", [True, False])
def test_pictures_that_went_missing_are_noticed(tmp_path: Path, noted: bool) -> None:
    path = shard(tmp_path, noted=noted)
    tar(path, {"000000000.jpg": b"jpeg", "000000001.jpg": b"jpeg"})
    assert not is_made(tmp_path, 0)


def test_other_bytes_of_the_same_size_and_time_are_noticed(tmp_path: Path) -> None:
    path = shard(tmp_path, noted=True)
    state, data = path.stat(), bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not is_made(tmp_path, 0)


@pytest.mark.parametrize("noted", [True, False])
def test_a_run_may_be_copied_and_touched(tmp_path: Path, noted: bool) -> None:
    path = shard(tmp_path / "run", noted=noted)
    assert is_made(tmp_path / "run", 0)
    os.utime(path, (1, 1))
    assert is_made(tmp_path / "run", 0)
    shutil.copytree(tmp_path / "run", tmp_path / "copy", copy_function=shutil.copyfile)
    assert is_made(tmp_path / "copy", 0)
