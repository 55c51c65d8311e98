"""Tar files that nobody vouches for, read member by member and never unpacked to disk.

Names are only ever labels here, so an absolute one or `..` leads nowhere; they are left out all the same, as
are links, devices and what does not fit. Everything left out is counted with its reason.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .members import MAX_MEMBER, LeftOut, Member, bad_name, is_hidden

__all__ = ["archives", "headers", "members", "refusal", "require_plain"]

_MOST_ZEROS = 256 * 1024  # bytes behind a tar's end in which another's beginning is looked for
_MAX_HEADER = 1024**2
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"\x28\xb5": "unzstd"}
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class SafeHeader(tarfile.TarInfo):
    """A header that does not make tarfile read gigabytes of name, nor go backwards (CVE-2025-8194)."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in _EXTENSIONS and self.size > _MAX_HEADER):
            raise tarfile.ReadError("a header with an impossible size")
        return super()._proc_member(tar)  # type: ignore[misc]


def members(path: Path, left_out: LeftOut) -> Iterator[Member]:
    """The regular files of a tar in their order; damage ends it, counted in `left_out`."""
    try:
        with path.open("rb") as file:
            yield from _members(file, left_out)
    except Exception as error:  # a hostile header provokes anything
        left_out.damaged[str(path)] = str(error) or type(error).__name__


def _members(file: IO[bytes], left_out: LeftOut) -> Iterator[Member]:
    require_plain(file)
    end = file.seek(0, 2)
    for tar in archives(file):
        for info in headers(tar):
            if not _wanted(info, left_out):
                continue
            if info.offset_data + info.size > end:
                left_out.members["cut_off"] += 1
                raise tarfile.ReadError("the file ends before its last member does")
            yield Member(info.name, info.offset_data, info.size)


def require_plain(file: IO[bytes]) -> None:
    """Raise ReadError for a packed tar, of a file that is then at its beginning."""
    unpack = _COMPRESSED.get(file.read(2))
    file.seek(0)
    if unpack is not None:
        raise tarfile.ReadError(
            f"a compressed tar, in which pictures cannot be looked up; run {unpack} on it first"
        )


def archives(file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """The tar in a file, and those behind it: `cat a.tar b.tar` makes such files.

    Each is to be read to its end before the next. Raises ReadError where one is broken or cut off.
    """
    start: int | None = 0
    while start is not None:
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:", tarinfo=SafeHeader, errors="replace") as tar:
            yield tar
            _require_end(file, tar.offset)
            start = _next_start(file, tar.offset)


def _next_start(file: IO[bytes], end: int) -> int | None:
    """Where another tar begins behind the zeros at the end of one; None where none does."""
    file.seek(end)
    zeros = file.read(_MOST_ZEROS)
    start = len(zeros) - len(zeros.lstrip(b"\0"))
    start -= start % tarfile.BLOCKSIZE
    block = zeros[start : start + tarfile.BLOCKSIZE]
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError:
        return None
    return end + start


def _require_end(file: IO[bytes], offset: int) -> None:
    """Raise ReadError where tarfile took a broken header for the end, which is a block of zeros."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("a header is broken" if block else "the file is cut off: it has no end mark")


def headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar in their order. Raises ReadError for one that leads backwards."""
    before = -1
    while (info := tar.next()) is not None:
        if info.size < 0 or info.offset <= before:
            raise tarfile.ReadError("a header that leads backwards")
        before = info.offset
        yield info
        tar.members.clear()  # type: ignore[attr-defined]  # or memory grows with the number of members


def _wanted(info: tarfile.TarInfo, left_out: LeftOut) -> bool:
    if info.isdir():
        return False
    reason = refusal(info) or ("hidden" if is_hidden(info.name) else None)
    if reason is not None:
        left_out.members[reason] += 1
    return reason is None


def refusal(info: tarfile.TarInfo) -> str | None:
    """Why a member is left out, in a word to count; None for a plain file with a harmless name."""
    if info.issym() or info.islnk():
        return "link"
    if not info.isreg():
        return "device"
    if info.issparse():
        return "sparse_file"
    return bad_name(info.name) or ("too_large" if info.size > MAX_MEMBER else None)
