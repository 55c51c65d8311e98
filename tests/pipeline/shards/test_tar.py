"""Tars made to do harm: what is wrong is counted, the good pictures are had, nothing else happens."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import odd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex.pipeline.shards import tar as tars
from visunex.pipeline.shards.members import LeftOut
from visunex.pipeline.shards.samples import samples, sources

JPEG = odd.file(odd.gradient((40, 40)), "JPEG")
Build = Callable[[tarfile.TarFile], None]


def add(archive: tarfile.TarFile, name: str, data: bytes = JPEG, **settings_: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data) if info.isreg() else 0
    for key, value in settings_.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data) if info.type == tarfile.REGTYPE else None)


def of_type(kind: bytes, link: str = "") -> Build:
    return lambda archive: add(archive, "bad.jpg", b"", type=kind, linkname=link, size=0)


def named(name: str) -> Build:
    return lambda archive: add(archive, name)


BAD_MEMBERS: dict[str, tuple[Build, str]] = {
    "absolute": (named("/etc/passwd.jpg"), "absolute_name"),
    "windows": (named("C:\\Windows\\bad.jpg"), "absolute_name"),
    "backslash": (named("\\\\server\\bad.jpg"), "absolute_name"),
    "dots": (named("../../bad.jpg"), "name_with_dots"),
    "inner dots": (named("a/../../bad.jpg"), "name_with_dots"),
    "backslash dots": (named("..\\bad.jpg"), "name_with_dots"),
    "no name": (named("."), "no_name"),
    "symlink": (of_type(tarfile.SYMTYPE, "/etc/passwd"), "link"),
    "hard link": (of_type(tarfile.LNKTYPE, "good.jpg"), "link"),
    "character device": (of_type(tarfile.CHRTYPE), "device"),
    "block device": (of_type(tarfile.BLKTYPE), "device"),
    "fifo": (of_type(tarfile.FIFOTYPE), "device"),
    "large": (lambda archive: add(archive, "bad.jpg", bytes(5000)), "too_large"),
    "twice": (named("good.jpg"), "duplicate_name"),
}


@pytest.mark.parametrize("case", list(BAD_MEMBERS))
def test_bad_members_are_counted_and_the_good_ones_had(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "MAX_MEMBER", 4000)
    build, reason = BAD_MEMBERS[case]
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "good.jpg")
        build(archive)
        add(archive, "last.jpg")
    left_out = LeftOut()
    found = list(samples(sources([path]), left_out))
    assert [each.key for each in found] == ["good", "last"]
    assert all(each.read() == JPEG for each in found)
    assert left_out.members == {reason: 1}
    assert left_out.damaged == {}
    assert [each.name for each in tmp_path.iterdir()] == ["x.tar"]


def good_tar(path: Path, count: int = 3) -> bytes:
    with tarfile.open(path, "w") as archive:
        for index in range(count):
            add(archive, f"{index}.jpg")
    return path.read_bytes()


def read(path: Path) -> tuple[list[str], LeftOut]:
    left_out = LeftOut()
    return [each.key for each in samples(sources([path]), left_out)], left_out


def test_a_truncated_tar_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    whole = good_tar(path)
    member = 512 + -(-len(JPEG) // 512) * 512
    path.write_bytes(whole[: member + 600])
    keys, left_out = read(path)
    assert keys == ["0"]
    assert left_out.members == {"cut_off": 1}
    assert "ends before its last member does" in left_out.damaged[str(path)]


def test_a_tar_cut_between_members_does_not_pass_for_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    member = 512 + -(-len(JPEG) // 512) * 512
    path.write_bytes(good_tar(path)[: 2 * member])
    keys, left_out = read(path)
    assert keys == ["0", "1"]
    assert "cut off" in left_out.damaged[str(path)]


@pytest.mark.parametrize("name", ["gz", "bz2", "xz"])
def test_a_compressed_tar_says_what_to_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x.tar.{name}"
    with tarfile.open(path, f"w:{name}") as archive:  # type: ignore[call-overload]
        add(archive, "a.jpg")
    keys, left_out = read(path)
    assert keys == []
    assert "compressed" in left_out.damaged[str(path)]


def test_what_is_no_tar_is_named(tmp_path: Path) -> None:
    for index, data in enumerate([b"<html>", bytes(100), b"", os.urandom(5000)]):
        path = tmp_path / f"{index}.tar"
        path.write_bytes(data)
        keys, left_out = read(path)
        assert keys == []
        assert left_out.damaged[str(path)]


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A tar header with any size field, its checksum right."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size.ljust(12, b"\0")[:12]
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


NEGATIVE = b"\xff" * 10 + b"\xfc\x00"  # -1024 in tar's base 256
NEGATIVE_PAX = b"14 size=-1024\n".ljust(512, b"\0")
EXABYTE = b"\x80\0\0\0\x10" + b"\0" * 7

BROKEN: dict[str, bytes] = {
    "negative size": header(b"bad.jpg", NEGATIVE) + bytes(1024),
    "negative pax size": header(b"p", b"%011o" % 14, b"x") + NEGATIVE_PAX + header(b"bad.jpg", b"1"),
    "exabyte": header(b"bad.jpg", EXABYTE) + bytes(512),
    "exabyte name": header(b"long", EXABYTE, b"L") + bytes(512),
    "exabyte pax": header(b"pax", EXABYTE, b"x") + bytes(512),
    "large pax": header(b"pax", b"%011o" % (3 * 1024**2), b"x") + bytes(3 * 1024**2),
    "size that is no number": header(b"bad.jpg", b"zzzzzzz") + bytes(512),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_impossible_headers_end_the_shard_and_nothing_else(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.tar"
    end = good_tar(path, 1).rindex(JPEG) + len(JPEG)
    body = path.read_bytes()[: -(-end // 512) * 512]
    path.write_bytes(body + BROKEN[case] + bytes(1024))
    keys, left_out = read(path)
    assert keys == ["0"]
    assert left_out.damaged


def test_sparse_members_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(header(b"bad.jpg", b"%011o" % 0, b"S") + bytes(1024))
    keys, left_out = read(path)
    assert keys == []
    assert left_out.members == {"sparse_file": 1}


def test_a_bomb_of_zeros_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    keys, left_out = read(path)
    assert keys == []
    assert "gunzip" in left_out.damaged[str(path)]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_does_more_than_lose_members(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.tar"
    damaged = bytearray(good_tar(path))
    for position in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=10)):
        damaged[position] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    keys, _ = read(path)
    assert len(keys) <= 3
