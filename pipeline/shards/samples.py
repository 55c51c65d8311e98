"""Images to encode: shards, single tars, folders and runs -> `Sample`s in an order that never changes."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from pathlib import Path

from visunex.base.files import fingerprint, identities
from visunex.images.errors import ImageError

from ..errors import EncodeError
from . import members
from .discard import discarded_members
from .image_tables import image_in_row, image_rows
from .members import (
    LeftOut,
    Member,
    images_among,
    is_image_name,
    require_room,
    stored_bytes,
)
from .places import Source, container_kind, run_sources, sources, walk
from .sidecar import Row, as_utf8, hashes_beside, row_in_tar, rows_of
from .tar import members as tar_members
from .zips import zip_members

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

    They may be `deflated`. In a parquet file it is what stands in the `column`, in the row of the number
    `offset`. `where` names it to a person: a path, or a shard and a name in it. `sha256` is of the file that
    was downloaded, where that is known.
    """

    key: str
    where: str
    file: Path
    offset: int
    size: int
    caption: str | None = None
    url: str | None = None
    score: float | None = None
    deflated: bool = False
    column: str | None = None
    sha256: str | None = None

    def read(self) -> bytes:
        """The image's bytes. Raises ImageError: unreadable, truncated or too_large."""
        if self.column is not None:
            return image_in_row(self.file, self.column, self.offset)
        require_room(self.size)
        try:
            most = members.MAX_MEMBER
            data = stored_bytes(self.file, self.offset, self.size, most, deflated=self.deflated)
        except (OSError, zlib.error) as error:
            raise ImageError("unreadable", getattr(error, "strerror", None) or str(error)) from None
        if len(data) < self.size and not self.deflated:
            raise ImageError("truncated", "the file became shorter while it was read")
        return data


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


def partitions(places: Iterable[Source], left_out: LeftOut) -> Iterator[Partition]:
    """All images, a shard or PARTITION of them at a time; `left_out` counts what is left out."""
    for are_files, those in groupby(places, key=lambda source: source.kind == "image"):
        if are_files:
            yield from _cut("pictures", chain.from_iterable(_file(source, left_out) for source in those))
        else:
            yield from _partitions(those, left_out)


def _file(source: Source, left_out: LeftOut) -> Iterator[Sample]:
    """An image's file that a person named; several in a row are encoded together."""
    for each in _without(source, _images(source.path, left_out)):
        yield each if source.score is None else replace(each, score=source.score)


def _partitions(places: Iterable[Source], left_out: LeftOut) -> Iterator[Partition]:
    for source in places:
        if source.unfinished is not None:
            left_out.damaged[str(source.path)] = source.unfinished
        elif source.kind == "tar":
            yield from _tar_partitions(source, left_out)
        elif source.kind == "zip":
            found = _member_samples(source.path, zip_members(source.path, left_out), None, left_out)
            yield from _cut(source.path.stem, _without(source, found))
        elif source.kind == "table":
            yield from _cut(source.path.stem, _without(source, _table_samples(source, left_out)))
        else:
            yield from _cut(source.path.name, _without(source, _images(source.path, left_out)))


def samples(places: Iterable[Source], left_out: LeftOut | None = None) -> Iterator[Sample]:
    """The images of all places one by one."""
    for part in partitions(places, left_out or LeftOut()):
        yield from part.samples


def listing(places: Iterable[Source]) -> str:
    """SHA-256 over names and identities of the files that images come from: it tells when they change.

    Raises EncodeError for a file that cannot be looked at.
    """
    names, files = [], []
    for source in places:
        if source.kind == "folder":
            found = [(sample.key, sample.file) for sample in _images(source.path, LeftOut())]
        else:
            found = [(source.path.name, source.path)]
        names += [name for name, _ in found]
        files += [file for _, file in found]
    try:
        return fingerprint(list(zip(names, identities(files), strict=True)))
    except OSError as error:
        raise EncodeError(f"{error.filename} cannot be read: {error.strerror}") from None


def _tar_partitions(source: Source, left_out: LeftOut) -> Iterator[Partition]:
    rows = rows_of(source.path, source.chosen, lambda: _keys_in(source.path))
    wanted = _wanted_keys(source, rows)
    if wanted is not None and not wanted:
        return
    hashes = hashes_beside(source.path) if source.shard is not None else {}
    found = (
        replace(each, sha256=hashes.get(each.key))
        for each in _tar_samples(source.path, rows, left_out)
        if wanted is None or each.key in wanted
    )
    for part in _cut(source.path.stem, _without(source, found), whole=source.shard is not None):
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


def _without(source: Source, found: Iterator[Sample]) -> Iterator[Sample]:
    """The samples that a place is to give."""
    return (each for each in found if (each.where, each.offset) not in source.without)


def _cut(name: str, found: Iterable[Sample], *, whole: bool = False) -> Iterator[Partition]:
    """Partitions of PARTITION samples, or one of all; none where there is nothing."""
    rest = iter(found)
    while part := tuple(rest if whole else islice(rest, PARTITION)):
        yield Partition(name, part)


def _tar_samples(path: Path, rows: Mapping[str, Row] | None, left_out: LeftOut) -> Iterator[Sample]:
    """The images of a shard, its members grouped as WebDataset does: by name up to the first dot."""
    discarded = discarded_members(path)
    found = tar_members(path, left_out) if discarded is None else iter(discarded)
    return _member_samples(path, found, rows, left_out)


def _keys_in(path: Path) -> frozenset[str]:
    """The keys that rows about the images in a tar may have."""
    found = images_among(tar_members(path, LeftOut()), LeftOut())
    return frozenset(as_utf8(key) for each in found for key in (each.key, each.group))


def _member_samples(
    path: Path, found: Iterator[Member], rows: Mapping[str, Row] | None, left_out: LeftOut
) -> Iterator[Sample]:
    for each in images_among(found, left_out):
        key, image = as_utf8(each.key), each.image
        said = None if rows is None else rows.get(key) or rows.get(as_utf8(each.group)) or Row()
        row = said if said is not None else row_in_tar(path, each.sidecars)
        yield Sample(
            key,
            f"{path.name}/{as_utf8(image.name)}",
            path,
            image.offset,
            image.size,
            row.caption,
            row.url,
            row.score,
            deflated=image.deflated,
        )


def _table_samples(source: Source, left_out: LeftOut) -> Iterator[Sample]:
    """The images of a parquet or Arrow file; damage ends it, counted in `left_out`."""
    path, column = source.path, source.column
    try:
        for number, (key, row) in enumerate(image_rows(path)):
            where = f"{as_utf8(path.name)}/{number}"
            yield Sample(key, where, path, number, 0, row.caption, row.url, row.score, column=column)
    except Exception as error:  # parsers of hostile bytes raise anything
        left_out.damaged[str(path)] = str(error) or type(error).__name__


def _images(path: Path, left_out: LeftOut) -> Iterator[Sample]:
    """An image, or those under a folder in the order of their paths, without hidden files."""
    if path.is_file():
        yield _file_sample(path, path.name)
        return
    for folder, names in walk(path, left_out):
        for name in names:
            file = folder / name
            if not is_image_name(name):
                if container_kind(file) is None:
                    left_out.members["not_a_picture_name"] += 1
            elif file.is_file():
                yield _file_sample(file, str(file.relative_to(path)))
            else:
                left_out.members["device" if file.exists() else "link"] += 1


def _file_sample(file: Path, name: str) -> Sample:
    return Sample(as_utf8(name), as_utf8(str(file)), file, 0, file.stat().st_size)
