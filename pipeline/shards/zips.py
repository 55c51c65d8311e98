"""Zip files that nobody vouches for, read member by member and never unpacked to disk."""

import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .members import MAX_MEMBER, LeftOut, Member, bad_name, is_hidden

__all__ = ["zip_members"]

_HEADER = 30  # bytes of a member's own header, without its name (PKWARE's APPNOTE, 4.3.7)


def zip_members(path: Path, left_out: LeftOut) -> Iterator[Member]:
    """The files of a zip in the order of their names; damage ends it, counted in `left_out`."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.filename):
                if info.is_dir():
                    continue
                if reason := _refusal(info):
                    left_out.members[reason] += 1
                else:
                    deflated = info.compress_type == zipfile.ZIP_DEFLATED
                    yield Member(info.filename, _begin(file, info), info.compress_size, deflated)
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


def _begin(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin, which only its own header says."""
    file.seek(info.header_offset)
    header = file.read(_HEADER)
    if len(header) < _HEADER or not header.startswith(b"PK\3\4"):
        raise zipfile.BadZipFile("a member's header is not where the index says")
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    return info.header_offset + _HEADER + name + extra
