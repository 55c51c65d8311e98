"""Tars, zips and folders of pictures as metadata: a row for each, with where it lies and what is said of it.

A tar is gone through once, in order, a zip by its directory. What stands in the `.txt` and `.json` beside a
picture (WebDataset) are the row's columns.
"""

import contextlib
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

from visunex.base.progress import Progress
from visunex.images.errors import ImageError
from visunex.net.range_file import RangedFile, as_file

from ...errors import SourceError
from ...inside.location import LOCATION, Location, below
from ...shards.members import Found, LeftOut, Member, images_among, is_hidden, path_under, suffix_of
from ...shards.sidecar import as_utf8
from ...shards.tar import archives, headers, refusal, require_plain
from ...shards.zips import listed_members, member_bytes, member_range
from ..columns import NAMES
from .records import BLOCK_VALUES, Block, Blocks, Tally, require_columns

__all__ = ["read_folder", "read_tar", "read_zip"]

_TEXTS = frozenset({"json", "txt"})
_LARGEST_TEXT = 1 << 20  # bytes
_MOST_WAITING = 64 << 20  # bytes of texts that were read and belong to no picture yet
_ROWS = 20_000  # of a block
_AT_ONCE = 2000  # pictures of a zip whose texts are read together
_LINK = NAMES["url"][0]

Rows = Iterator[dict[str, Any]]


def read_tar(file: IO[bytes], address: str, tally: Tally) -> Blocks:
    """The pictures of a tar, read from front to back. Raises SourceError where it is none, or is cut off."""
    texts = _Texts()
    left_out = LeftOut()
    try:
        require_plain(file)
        found = images_among(_members_of_tar(file, texts, left_out), left_out)
        yield from _blocks(_rows(found, texts, address, tally, zipped=False))
    except tarfile.ReadError as error:
        raise SourceError(f"it is no whole tar: {error}") from None
    _tell(tally, left_out)


def read_zip(file: RangedFile, address: str, tally: Tally) -> Blocks:
    """The pictures of a zip, by its directory and the small texts beside them. Raises SourceError."""
    left_out = LeftOut()
    try:
        found = images_among(listed_members(as_file(file), left_out), left_out)
        while some := list(islice(found, _AT_ONCE)):
            yield from _blocks(_rows(some, _texts_of(file, some), address, tally, zipped=True))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise SourceError(f"it is no whole zip: {error}") from None
    _tell(tally, left_out)


def read_folder(folder: Path, tally: Tally) -> Blocks:
    """The pictures under a folder, by their names. What links lead out of it is left out, and counted."""
    left_out = LeftOut()
    yield from _blocks(_rows_of_folder(folder, left_out, tally))
    _tell(tally, left_out)


class _Texts:
    """What stands in small members, kept until the picture that they belong to is known."""

    def __init__(self) -> None:
        self._waiting: dict[int, bytes] = {}
        self._bytes = 0

    def put(self, member: Member, text: bytes) -> None:
        """Keep a member's text; the oldest are let go when too much waits."""
        self._waiting[member.offset] = text
        self._bytes += len(text)
        while self._bytes > _MOST_WAITING:
            self._bytes -= len(self._waiting.pop(next(iter(self._waiting))))

    def take(self, member: Member | None) -> str:
        """A member's text, which is kept no longer; an empty one where there is none."""
        text = b"" if member is None else self._waiting.pop(member.offset, b"")
        self._bytes -= len(text)
        return text.decode("utf-8", errors="replace")


def _texts_of(file: RangedFile, found: Iterable[Found]) -> _Texts:
    """What stands beside pictures of a zip, several pieces of which are asked for at the same time."""
    texts = _Texts()
    said = {
        each.offset: each for one in found for each in one.sidecars.values() if each.size <= _LARGEST_TEXT
    }
    members = [said[offset] for offset in sorted(said)]
    pieces = file.read_many([member_range(each) for each in members])
    for member, data in zip(members, pieces, strict=True):
        with contextlib.suppress(zlib.error):  # it costs what is said of the picture, not the picture
            texts.put(member, member_bytes(member, data, _LARGEST_TEXT))
    return texts


def _members_of_tar(file: IO[bytes], texts: _Texts, left_out: LeftOut) -> Iterator[Member]:
    with Progress("look through the tar", None, unit="members") as shown:
        number = 0
        for tar in archives(file):
            for info in headers(tar):
                number += 1
                shown.update(number)
                if info.isdir():
                    continue
                if (reason := refusal(info) or ("hidden" if is_hidden(info.name) else None)) is not None:
                    left_out.members[reason] += 1
                    continue
                member = Member(info.name, info.offset_data, info.size)
                if suffix_of(info.name) in _TEXTS and info.size <= _LARGEST_TEXT:
                    data = tar.extractfile(info)
                    texts.put(member, b"" if data is None else data.read())
                yield member


def _rows(found: Iterable[Found], texts: _Texts, address: str, tally: Tally, *, zipped: bool) -> Rows:
    tally.located = True
    for each in found:
        tally.read += 1
        image = each.image
        place = Location(
            address,
            offset=image.offset,
            size=image.size,
            zipped=zipped,
            deflated=image.deflated,
            name=as_utf8(image.name),
        )
        yield _row(each, texts, str(place))


def _rows_of_folder(folder: Path, left_out: LeftOut, tally: Tally) -> Rows:
    tally.located = True
    before = below(str(folder.absolute()))
    for each in images_among(_members_of_folder(folder, left_out), left_out):
        tally.read += 1
        texts = _Texts()
        for member in each.sidecars.values():
            if member.size <= _LARGEST_TEXT:
                with contextlib.suppress(OSError, ImageError):  # it costs what is said of the picture
                    texts.put(member, path_under(folder, member.name).read_bytes()[:_LARGEST_TEXT])
        row = _row(each, texts, before + each.image.name)
        yield row if (label := _label(each.image.name)) is None else {"label": label, **row}


def _label(name: str) -> str | None:
    """The folder in which a picture lies, which is its class in sets that are folders; None at the top."""
    return name.rpartition("/")[0].rpartition("/")[2] or None


def _members_of_folder(folder: Path, left_out: LeftOut) -> Iterator[Member]:
    """The files under a folder in the order of their paths, numbered; links to folders are not followed."""
    number = 0
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        shown = [name for name in (*folders, *names) if not is_hidden(name)]
        left_out.members["hidden"] += len(folders) + len(names) - len(shown)
        left_out.members["link"] += len(links)
        folders[:] = sorted(name for name in folders if name in shown and name not in links)
        for path in (Path(place, name) for name in sorted(names) if name in shown):
            name, number = path.relative_to(folder).as_posix(), number + 1
            try:
                yield Member(as_utf8(name), number, path_under(folder, as_utf8(name)).stat().st_size)
            except ImageError as error:
                left_out.members[error.kind if name == as_utf8(name) else "name_not_utf8"] += 1


def _row(found: Found, texts: _Texts, place: str) -> dict[str, Any]:
    """A picture's columns: what its `.json` says, the caption of its `.txt`, and where it lies."""
    said = _said(texts.take(found.sidecars.get("json")))
    caption = texts.take(found.sidecars.get("txt")).strip()
    names = {name.lower(): name for name in reversed(list(said))}
    if caption and not any(name in names for name in NAMES["caption"]):
        said["caption"] = caption
    link = next((names[name] for name in NAMES["url"] if name in names), _LINK)
    return {**said, link: said.get(link) or place, LOCATION: place}


def _said(text: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    kept = found.items() if isinstance(found, Mapping) else ()
    return {
        f"source_{name}" if name in (LOCATION, "key") else str(name): value
        for name, value in kept
        if isinstance(value, str | int | float | bool) or value is None
    }


def _blocks(rows: Rows) -> Iterator[Block]:
    waiting: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for row in rows:
        waiting.append(row)
        names.update(dict.fromkeys(row))
        require_columns(len(names))
        if len(waiting) >= _ROWS or len(waiting) * len(names) > BLOCK_VALUES:
            yield {name: [each.get(name) for each in waiting] for name in names}
            waiting = []
    if waiting:
        yield {name: [each.get(name) for each in waiting] for name in names}


def _tell(tally: Tally, left_out: LeftOut) -> None:
    """Say what of an archive is no picture, by reason."""
    said = ", ".join(
        f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.members.items() if count
    )
    if said:
        tally.remarks.append(f"members left out: {said}")
