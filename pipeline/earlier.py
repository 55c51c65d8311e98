"""Pictures that a run fetched for an earlier selection of its own: by their address they are taken over.

They lie as they were made, in a folder for each selection before this one, until all of a shard's are taken
over: those that are not wanted now may be another time.
"""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .errors import parquet_errors
from .rundir import RunDir
from .shards.made import is_made
from .shards.members import LeftOut
from .shards.naming import ROWS, SHARD_FILES, TAR, shard_name, shard_number, tars_marked_done
from .shards.tar import members

__all__ = [
    "Earlier",
    "Kept",
    "addresses",
    "discarded",
    "drop_taken_over",
    "numbered",
    "read_earlier",
    "set_aside",
    "set_shards_aside",
]

_SIZES = ("width", "height", "original_width", "original_height")


@dataclass(frozen=True)
class Kept:
    """An image in a shard's tar, checked and resized: its four sizes, and the SHA-256 of the file it was."""

    tar: Path
    offset: int
    size: int
    sizes: tuple[int | None, ...]
    sha256: str | None

    def read(self) -> bytes:
        """The image's bytes, as they are in the shard. Raises OSError."""
        with self.tar.open("rb") as file:
            return os.pread(file.fileno(), self.size, self.offset)


class Earlier(NamedTuple):
    """What became of addresses before: the `images` that are there, and why others failed."""

    images: dict[str, Kept]
    failures: dict[str, str]


def set_aside(run: RunDir) -> None:
    """Move pictures and vectors away, for those of another selection to take over what they share.

    The embedding stays until there is another.
    """
    for each in run.encoders:
        _move(each.vectors, run.earlier / run.vectors.name)
    _move(run.shards, run.earlier / run.shards.name)
    run.groups.unlink(missing_ok=True)
    run.choice.unlink(missing_ok=True)


def set_shards_aside(run: RunDir, shards: Mapping[int, Iterable[Path]]) -> None:
    """Move some shards away, each with the files of its vectors, to be fetched again and taken over."""
    into = {folder: _next(run.earlier / folder.name) for folder in (run.vectors, run.shards)}
    for shard, vectors in shards.items():
        own = [run.shards / f"{shard_name(shard)}{kind}" for kind in reversed(SHARD_FILES)]
        for path in (each for each in (*vectors, *own) if each.exists()):
            folder = next(folder for folder in into if path.is_relative_to(folder))
            target = into[folder] / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)


def _move(folder: Path, into: Path) -> None:
    """Move a folder, where there is one, to the next number in another."""
    into.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        folder.rename(_next(into))


def _next(folder: Path) -> Path:
    """The folder of the next number in another."""
    return folder / str(max((int(each.name) for each in numbered(folder)), default=-1) + 1)


def numbered(folder: Path) -> list[Path]:
    """The folders that were set aside in one, the oldest first."""
    found = [each for each in folder.glob("*") if each.name.isdecimal() and each.is_dir()]
    return sorted(found, key=lambda each: int(each.name))


def addresses(shards: Path) -> set[str]:
    """The addresses of all images in a folder's shards, those among them that were discarded since."""
    return {row["url"] for _, rows in _whole(shards) for row in rows if row["status"] == "success"}


def discarded(folder: Path) -> set[str]:
    """The addresses of images that were discarded from shards before these were set aside in a folder."""
    whole = (each for shards in numbered(folder) for each in _whole(shards))
    gone = (rows for tar, rows in whole if not tar.exists())
    return {row["url"] for rows in gone for row in rows if row["status"] == "success"}


def read_earlier(folder: Path, wanted: Collection[str]) -> Earlier:
    """What became of the `wanted` addresses in the shards that were set aside in a folder."""
    found = Earlier({}, {})
    for tar, rows in (each for shards in numbered(folder) for each in _whole(shards)):
        rows = [row for row in rows if row["url"] in wanted]
        lies = {each.name: each for each in members(tar, LeftOut())} if rows and tar.exists() else {}
        for row in rows:
            image = lies.get(f"{row['key']}.jpg")
            if row["status"] != "success":
                found.failures[row["url"]] = row["error_message"] or ""
            elif image is not None:
                sizes = tuple(row[name] for name in _SIZES)
                found.images[row["url"]] = Kept(tar, image.offset, image.size, sizes, row["sha256"])
    return found


def drop_taken_over(folder: Path, shards: Path) -> None:
    """Remove the shards that were set aside in a folder and of which all images are in `shards` now."""
    there = addresses(shards) if folder.is_dir() else set[str]()
    for earlier in numbered(folder):
        for tar, rows in _whole(earlier):
            if {row["url"] for row in rows if row["status"] == "success"} <= there:
                for kind in reversed(SHARD_FILES):
                    (earlier / f"{tar.stem}{kind}").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # some stay
            earlier.rmdir()


def _whole(shards: Path) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """The tars of shards that are finished and whole, with the rows beside each."""
    import pyarrow.parquet as pq

    numbers = (shard_number(tar.stem) for tar in tars_marked_done(shards))
    for number in numbers:
        if number is None or not is_made(shards, number):
            continue
        name = shard_name(number)
        columns = ["key", "url", "status", "error_message", "sha256", *_SIZES]
        with contextlib.suppress(*parquet_errors()):
            yield (
                shards / f"{name}{TAR}",
                pq.read_table(shards / f"{name}{ROWS}", columns=columns).to_pylist(),
            )
