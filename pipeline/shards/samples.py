"""Images to encode: shards, single tars, folders and runs -> `Sample`s in an order that never changes."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from visunex.images.errors import ImageError
from visunex.images.formats import SUFFIXES

from ..errors import EncodeError
from .discard import discarded_members, is_discarded
from .naming import TAR, shard_number, tars_marked_done
from .sidecar import Row, as_utf8, row_in_tar, rows_of
from .tar import MAX_MEMBER, LeftOut, Member, members

__all__ = [
    "PARTITION",
    "Partition",
    "Sample",
    "Source",
    "listing",
    "partitions",
    "run_sources",
    "samples",
    "sources",
]

PARTITION = 1000  # images that are encoded, written and resumed together


@dataclass(frozen=True)
class Sample:
    """An image that can be read at any time: `size` bytes of `file` from `offset` on.

    `where` names it to a person: a path, or a shard and a name in it.
    """

    key: str
    where: str
    file: Path
    offset: int
    size: int
    caption: str | None = None
    url: str | None = None
    score: float | None = None

    def read(self) -> bytes:
        """The image's bytes. Raises ImageError: unreadable, truncated or too_large."""
        if self.size > MAX_MEMBER:
            raise ImageError("too_large", f"{self.size} bytes are more than {MAX_MEMBER}")
        try:
            with self.file.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise ImageError("unreadable", error.strerror or str(error)) from None
        if len(data) < self.size:
            raise ImageError("truncated", "the file became shorter while it was read")
        return data


@dataclass(frozen=True)
class Source:
    """One place with images: a tar, a folder, or a single file.

    `chosen` is the run's table that says which of a shard's are wanted, `keys` says so itself. `shard` is its
    number in the run that is at work.
    """

    path: Path
    kind: Literal["tar", "folder", "image"]
    chosen: Path | None = None
    shard: int | None = None
    keys: frozenset[str] | None = None

    @property
    def discarded(self) -> bool:
        """Whether its images were discarded when they had their vectors."""
        return self.kind == "tar" and is_discarded(self.path)


@dataclass(frozen=True)
class Partition:
    """Samples that are encoded together. `missing` wanted images were not where the run says they are.

    `shard` is the number of their shard in the run that is at work; where that is `discarded`, its images
    can no longer be read.
    """

    name: str
    samples: tuple[Sample, ...]
    missing: tuple[str, ...] = ()
    shard: int | None = None
    discarded: bool = False


def sources(places: Iterable[str | Path]) -> list[Source]:
    """The places that a person may give: folders of shards or of images, tars, images, run folders.

    Each place counts once. Raises EncodeError when one is not there.
    """
    found = [source for place in places for source in _sources(Path(place))]
    return list({(source.path.resolve(), source.chosen): source for source in found}.values())


def run_sources(shards: Path, downloaded: Path) -> list[Source]:
    """The finished shards of the run at work; those of its images that a table says are chosen, if any.

    Among them are shards whose images were discarded.
    """
    chosen = downloaded if downloaded.exists() else None
    return [Source(tar, "tar", chosen, shard_number(tar.stem)) for tar in _finished(shards)]


def partitions(places: Iterable[Source], left_out: LeftOut) -> Iterator[Partition]:
    """All images, a shard or PARTITION of them at a time; `left_out` counts what is left out."""
    for source in places:
        if source.kind == "tar":
            yield from _tar_partitions(source, left_out)
        else:
            yield from _cut(source.path.name, _images(source.path, left_out))


def samples(places: Iterable[Source], left_out: LeftOut | None = None) -> Iterator[Sample]:
    """The images of all places one by one."""
    for part in partitions(places, left_out or LeftOut()):
        yield from part.samples


def listing(places: Iterable[Source]) -> str:
    """SHA-256 over name, size and time of every file that images come from: it tells when they change."""
    digest = hashlib.sha256()
    for source in places:
        for entry in _entries(source):
            digest.update(json.dumps(entry).encode() + b"\n")
    return digest.hexdigest()


def _sources(place: Path) -> list[Source]:
    try:
        if place.is_dir():
            return _folder_sources(place)
        if place.is_file():
            is_image = place.suffix.lower().lstrip(".") in SUFFIXES
            return [Source(place, "image" if is_image else "tar")]
    except OSError as error:
        raise EncodeError(f"{place} cannot be read: {error.strerror}") from None
    raise EncodeError(f"there are no pictures at {place}: no such file or folder")


def _folder_sources(place: Path) -> list[Source]:
    if (place / "shards").is_dir():
        found = run_sources(place / "shards", place / "downloaded.parquet")
        found = [replace(source, shard=None) for source in found]
    else:
        found = [Source(tar, "tar") for tar in _finished(place)] or [Source(place, "folder")]
    if any(source.discarded for source in found):
        raise EncodeError(
            f"the pictures in {place} were discarded when they had their vectors; fetch them again with "
            "`visunex-data download --overwrite`"
        )
    return found


def _finished(folder: Path) -> list[Path]:
    """The tars of a folder; where img2dataset's done-markers are, only those that have theirs."""
    marked = [tar for tar in tars_marked_done(folder) if not tar.name.startswith(".")]
    return [tar for tar in marked if tar.exists() or is_discarded(tar)] or _files(folder, f"*{TAR}")


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _tar_partitions(source: Source, left_out: LeftOut) -> Iterator[Partition]:
    rows = rows_of(source.path, source.chosen)
    wanted = _wanted_keys(source, rows)
    if wanted is not None and not wanted:
        return
    found = (
        each for each in _tar_samples(source.path, rows, left_out) if wanted is None or each.key in wanted
    )
    for part in _cut(source.path.stem, found, whole=source.shard is not None):
        if wanted is not None:
            wanted -= {sample.key for sample in part.samples}
        yield replace(part, shard=source.shard, discarded=source.discarded)
    if wanted:
        yield Partition(f"{source.path.stem}-missing", (), tuple(sorted(wanted)))


def _wanted_keys(source: Source, rows: Mapping[str, Row] | None) -> set[str] | None:
    """The keys of the images that are wanted of a shard; None where all are."""
    if source.keys is not None:
        return set(source.keys)
    return None if source.chosen is None else set(rows or ())


def _cut(name: str, found: Iterable[Sample], *, whole: bool = False) -> Iterator[Partition]:
    """Partitions of PARTITION samples, or one of all; none where there is nothing."""
    rest = iter(found)
    while part := tuple(rest if whole else islice(rest, PARTITION)):
        yield Partition(name, part)


def _tar_samples(path: Path, rows: Mapping[str, Row] | None, left_out: LeftOut) -> Iterator[Sample]:
    """The images of a shard, its members grouped as WebDataset does: by name up to the first dot."""
    from webdataset.tariterators import group_by_keys

    def duplicate(_error: Exception) -> bool:
        left_out.members["duplicate_name"] += 1
        return True

    discarded = discarded_members(path)
    found = members(path, left_out) if discarded is None else discarded
    files = ({"fname": each.name, "data": each, "__url__": str(path)} for each in found)
    for group in group_by_keys(files, handler=duplicate):
        yield from _group_samples(path, group, rows)


def _group_samples(path: Path, group: Mapping[str, Any], rows: Mapping[str, Row] | None) -> Iterator[Sample]:
    parts = {suffix: each for suffix, each in group.items() if isinstance(each, Member)}
    exact = [suffix for suffix in parts if suffix in SUFFIXES]
    # `holiday.2022.jpg` in a tar of plain images: all after the first dot is its suffix.
    images = exact or [suffix for suffix in parts if suffix.rpartition(".")[2] in SUFFIXES]
    if not images:
        return
    key = as_utf8(group["__key__"])
    row = rows.get(key, Row()) if rows is not None else row_in_tar(path, parts)
    for suffix in images:
        each = parts[suffix]
        yield Sample(
            key,
            f"{path.name}/{as_utf8(each.name)}",
            path,
            each.offset,
            each.size,
            row.caption,
            row.url,
            row.score,
        )


def _images(path: Path, left_out: LeftOut) -> Iterator[Sample]:
    """An image, or those under a folder in the order of their paths, without hidden files."""
    if path.is_file():
        yield _file_sample(path, path.name)
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.startswith(".") or name.rpartition(".")[2].lower() not in SUFFIXES:
                left_out.members["not_a_picture_name"] += 1
                continue
            file = Path(folder, name)
            if file.is_file():
                yield _file_sample(file, str(file.relative_to(path)))
            else:
                left_out.members["device" if file.exists() else "link"] += 1


def _file_sample(file: Path, name: str) -> Sample:
    return Sample(as_utf8(name), as_utf8(str(file)), file, 0, file.stat().st_size)


def _entries(source: Source) -> Iterator[list[Any]]:
    if source.kind == "folder":
        for sample in _images(source.path, LeftOut()):
            yield [sample.key, sample.size, sample.file.stat().st_mtime_ns]
    else:
        state = source.path.stat()
        yield [source.path.name, state.st_size, state.st_mtime_ns]
