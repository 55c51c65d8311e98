"""Places with images, as a person names them: folders, shards, runs, tars, zips, parquet files, patterns."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Literal

from ..errors import EncodeError
from .discard import is_discarded
from .image_tables import image_columns
from .members import LeftOut, is_hidden, is_image_name, suffix_of
from .naming import ROWS, SHARD_DIGITS, STATS, TAR, shard_number, stats_of, tars_marked_done

__all__ = ["Kind", "Source", "container_kind", "names_images", "run_sources", "sources", "walk"]

Kind = Literal["tar", "zip", "table", "folder", "image"]

_CONTAINERS: dict[str, Kind] = {
    "tar": "tar",
    "zip": "zip",
    "parquet": "table",
    "arrow": "table",
    "feather": "table",
}


@dataclass(frozen=True)
class Source:
    """One place with images: a tar, zip or parquet file, a folder, or a single file.

    `chosen` is the run's table that says which of a shard's are wanted, `keys` says so itself; those
    `without` (`where` and offset) are not. `shard` is its
    number in the run that is at work. `column` holds the images of a table's rows. `unfinished` says why
    nothing is taken of a shard. A copy has the `address` of what it is one of, an image's file may have a
    `score`.
    """

    path: Path
    kind: Kind
    chosen: Path | None = None
    shard: int | None = None
    keys: frozenset[str] | None = None
    without: frozenset[tuple[str, int]] = frozenset()
    column: str | None = None
    unfinished: str | None = None
    address: str | None = None
    score: float | None = None

    @property
    def discarded(self) -> bool:
        """Whether its images were discarded when they had their vectors."""
        return self.kind == "tar" and is_discarded(self.path)


def sources(places: Iterable[str | Path], column: str | None = None) -> list[Source]:
    """The places that a person may give: folders of shards or of images, tars, images, run folders.

    Each place counts once. `column` names the one with the images, where rows of a table have several. Raises
    EncodeError when a place is not there, or it is not known which of the images are meant.
    """
    found = [source for place in places for source in _sources(Path(place))]
    found = list({(source.path.resolve(), source.chosen): source for source in found}.values())
    return [
        replace(each, column=_column_of(each.path, column)) if each.kind == "table" else each
        for each in found
    ]


def _column_of(path: Path, wanted: str | None) -> str:
    """The column of a table that holds its images. Raises EncodeError."""
    found = image_columns(path)
    if wanted is not None:
        found = [each for each in found if wanted.lower() in (each.lower(), each.rpartition(".")[0].lower())]
    if len(found) == 1:
        return found[0]
    having = ", ".join(image_columns(path))
    if not found:
        raise EncodeError(f"{path} has no column {wanted!r} with pictures; there are {having}")
    raise EncodeError(f"{path} has several pictures in a row: {having}; name one with --image-column")


def names_images(place: str) -> bool:
    """Whether a person may mean images by this: a folder, a pattern, or a file named as one with images."""
    name = Path(place).name
    return Path(place).is_dir() or has_magic(place) or is_image_name(name) or suffix_of(name) in _CONTAINERS


def run_sources(shards: Path, downloaded: Path) -> list[Source]:
    """The finished shards of the run at work; those of its images that a table says are chosen, if any.

    Among them are shards whose images were discarded.
    """
    chosen = downloaded if downloaded.exists() else None
    return [Source(tar, "tar", chosen, shard_number(tar.stem)) for tar in _finished(shards)]


def walk(top: Path, left_out: LeftOut) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those under it, each once, with their files' names; links to folders are followed."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(top, followlinks=True):
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        shown = [name for name in files if not is_hidden(name)]
        if hidden := sum(map(is_hidden, folders)) + len(files) - len(shown):
            left_out.members["hidden"] += hidden
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield Path(folder), sorted(shown)


def _sources(place: Path) -> list[Source]:
    try:
        if place.is_dir():
            return _folder_sources(place)
        if place.is_file():
            return [Source(place, _kind_of(place))]
        found = _matching(str(place))
    except OSError as error:
        raise EncodeError(f"{place} cannot be read: {error.strerror}") from None
    if not found:
        raise EncodeError(f"there are no pictures at {place}: no such file or folder")
    return [source for each in found for source in _sources(Path(each))]


def _matching(pattern: str) -> list[str]:
    """What a pattern stands for (`pictures/**/*.jpg`), in order; nothing for what is none."""
    return sorted(glob(pattern, recursive=True)) if has_magic(pattern) else []  # noqa: PTH207 - of any root


def _kind_of(file: Path) -> Kind:
    """What a file that is named as a place with images is; a tar, if nothing else."""
    if is_image_name(file.name):
        return "image"
    if _CONTAINERS.get(suffix_of(file.name)) == "table" and not image_columns(file):
        raise EncodeError(f"{file} has no column with pictures: binary `image`, `jpg`, ..., or `image.bytes`")
    return _CONTAINERS.get(suffix_of(file.name), "tar")


def _folder_sources(place: Path) -> list[Source]:
    if (place / "shards").is_dir():
        found = run_sources(place / "shards", place / "downloaded.parquet")
        found = [replace(source, shard=None) for source in found]
    else:
        found = list(_sources_under(place))
    if any(source.discarded for source in found):
        raise EncodeError(
            f"the pictures in {place} were discarded when they had their vectors; fetch them again with "
            "`visunex-data download --overwrite`"
        )
    return found


def _finished(folder: Path) -> list[Path]:
    """The tars of a folder; where img2dataset's done-markers are, only those that have theirs."""
    marked = [tar for tar in tars_marked_done(folder) if not tar.name.startswith(".")]
    return [tar for tar in marked if tar.exists() or is_discarded(tar)] or _files(folder, TAR)


def _files(folder: Path, suffix: str) -> list[Path]:
    found = (path for path in folder.glob("*") if path.suffix.lower() == suffix and path.is_file())
    return sorted(path for path in found if not is_hidden(path.name))


def _sources_under(place: Path) -> Iterator[Source]:
    """The tars, zips and parquet files with images under a folder, and itself, if it has images."""
    has_images, others = False, 0
    for folder, names in walk(place, LeftOut()):
        for found in _containers_in(folder, names):
            others += found.unfinished is None
            yield found
        has_images = has_images or any(map(is_image_name, names))
    if has_images or not others:
        yield Source(place, "folder")


def _containers_in(folder: Path, names: Sequence[str]) -> Iterator[Source]:
    finished = _finished(folder)
    tars = [path for path in _files(folder, TAR) if path not in finished]
    for tar in sorted([*finished, *(each for each in tars if shard_number(each.stem) is None)]):
        yield Source(tar, "tar")
    for tar in tars:
        if shard_number(tar.stem) is not None:
            why = f"left out as not finished: no {stats_of(tar).name} is beside it, as beside other shards"
            yield Source(tar, "tar", unfinished=why)
    for name in names:
        kind = container_kind(folder / name)
        if kind not in (None, "tar"):
            yield Source(folder / name, kind)
    yield from _without_tar(folder, names)


def _without_tar(folder: Path, names: Sequence[str]) -> Iterator[Source]:
    """The shards of img2dataset whose rows or statistics are here, and not their pictures in any form."""
    ends = [(name, end) for name in names for end in (ROWS, STATS) if name.endswith(end)]
    stems = {name.removesuffix(end): name for name, end in ends if _is_shard(name.removesuffix(end))}
    for stem, name in sorted(stems.items()):
        tar = folder / f"{stem}{TAR}"
        elsewhere = (folder / stem).is_dir() or container_kind(tar.with_suffix(ROWS)) is not None
        if not (tar.exists() or is_discarded(tar) or elsewhere):
            yield Source(folder / name, "tar", unfinished=f"left out: the shard's {tar.name} is not there")


def _is_shard(name: str) -> bool:
    return shard_number(name) is not None and len(name) >= SHARD_DIGITS


def container_kind(file: Path) -> Kind | None:
    """What of images a file is, besides an image itself; a parquet beside a tar is that shard's."""
    kind = _CONTAINERS.get(suffix_of(file.name))
    if kind == "table" and (file.with_suffix(TAR).exists() or not image_columns(file)):
        return None
    return kind
