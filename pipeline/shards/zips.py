"""Zip files that nobody vouches for, read member by member and never unpacked to disk."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from .members import MAX_MEMBER, LeftOut, Member, bad_name, is_hidden

__all__ = ["data_begin", "listed_members", "member_bytes", "member_range", "zip_members"]

_EXTRA = 64  # bytes of further fields that a member's own header mostly has at most
LOCAL_HEADER = 30  # bytes of a member's own header, without its name (PKWARE's APPNOTE, 4.3.7)


def zip_members(path: Path, left_out: LeftOut) -> Iterator[Member]:
    """The files of a zip in the order of their names; damage ends it, counted in `left_out`."""
    try:
        with path.open("rb") as file:
            for each in listed_members(file, left_out):
                yield replace(each, offset=_begin(file, each.offset))
    except Exception as error:  # a hostile header provokes anything
        left_out.damaged[str(path)] = str(error) or type(error).__name__


def _refusal(info: zipfile.ZipInfo) -> str | None:
    """Why a member is left out, in a word to count."""
    if is_hidden(info.filename):
        return "hidden"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "link"
    if info.flag_bits & 1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "other_compression"
    if max(info.file_size, info.compress_size) > MAX_MEMBER:
        return "too_large"
    return bad_name(info.filename)


def _begin(file: IO[bytes], header: int) -> int:
    """Where a member's bytes begin, which only its own header says."""
    file.seek(header)
    begin = data_begin(file.read(LOCAL_HEADER))
    if begin is None:
        raise zipfile.BadZipFile("a member's header is not where the index says")
    return header + begin


def data_begin(header: bytes) -> int | None:
    """How far behind the start of its own header a member's bytes begin; None where there is no header."""
    if len(header) < LOCAL_HEADER or not header.startswith(b"PK\3\4"):
        return None
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    return LOCAL_HEADER + name + extra


def member_range(member: Member) -> tuple[int, int]:
    """The bytes of a zip that a listed member takes, nearly always with those of its own header."""
    return member.offset, member.offset + LOCAL_HEADER + len(member.name.encode()) + _EXTRA + member.size


def member_bytes(member: Member, data: bytes, most: int) -> bytes:
    """What a listed member holds, no more than `most` bytes of it, from its own header on in `data`.

    Raises zlib.error.
    """
    begin = data_begin(data)
    own = b"" if begin is None else data[begin : begin + member.size]
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(own, most) if member.deflated else own[:most]


def listed_members(file: IO[bytes], left_out: LeftOut) -> Iterator[Member]:
    """The files that a zip's directory lists, in the order of their names: of each where its own header lies.

    Nothing but the directory is read. Raises what zipfile does of a hostile one.
    """
    with zipfile.ZipFile(file) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if info.is_dir():
                continue
            if reason := _refusal(info):
                left_out.members[reason] += 1
            else:
                deflated = info.compress_type == zipfile.ZIP_DEFLATED
                yield Member(info.filename, info.header_offset, info.compress_size, deflated)
