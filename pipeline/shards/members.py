"""Files that lie inside another: where their bytes are, which are images, and what is said of those."""

import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from visunex.images.errors import ImageError
from visunex.images.formats import SUFFIXES

__all__ = [
    "MAX_MEMBER",
    "Found",
    "LeftOut",
    "Member",
    "bad_name",
    "images_among",
    "is_hidden",
    "is_image_name",
    "path_under",
    "require_room",
    "stored_bytes",
    "suffix_of",
]

MAX_MEMBER = 256 * 1024**2  # bytes
_SIDECARS = ("json", "txt")
_ARCHIVES = frozenset({"tar", "tgz", "zip", "gz", "bz2", "xz", "zst", "7z", "rar"})


@dataclass(frozen=True)
class Member:
    """A file in a tar or zip: its name and where its bytes lie, which may be `deflated`."""

    name: str
    offset: int
    size: int
    deflated: bool = False


@dataclass
class LeftOut:
    """What was left out while reading: `members` by reason; `damaged` says why a shard is not whole."""

    members: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """An image, its `key` (its name without what follows the last dot), and the `.json` and `.txt` of it.

    `group` is its name up to the first dot: what WebDataset calls the key.
    """

    key: str
    group: str
    image: Member
    sidecars: Mapping[str, Member]


def stored_bytes(file: Path, offset: int, size: int, most: int, *, deflated: bool) -> bytes:
    """The bytes of a file in a file, no more than `most` of them. Raises OSError, zlib.error."""
    with file.open("rb") as opened:
        opened.seek(offset)
        data = opened.read(size if deflated else min(size, most))
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most) if deflated else data


def suffix_of(name: str) -> str:
    """What follows the last dot of a file's name, in lower case."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return suffix_of(name) in SUFFIXES


def is_hidden(name: str) -> bool:
    """Whether systems hide a file of this name, or of a name in this path: `._a.jpg`, `__MACOSX/a.jpg`."""
    return any(
        (part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/")
    )


def bad_name(name: str) -> str | None:
    """Why a member of this name is left out, in a word to count; None for a harmless name."""
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or name[1:2] == ":":
        return "absolute_name"
    if ".." in parts:
        return "name_with_dots"
    return "no_name" if not parts or "\0" in name else None


def path_under(folder: Path, name: str) -> Path:
    """The file that a path in somebody's metadata names, under a folder.

    Raises ImageError: it leads out of the folder, is not there, or is no plain file.
    """
    if (reason := bad_name(name)) is not None:
        raise ImageError(reason, f"{name[:100]!r} does not lie under {folder}")
    root = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        raise ImageError("link", f"{name[:100]!r} is a link that leads out of {folder}")
    if not path.is_file():
        reason = "device" if path.exists() else "missing"
        raise ImageError(reason, f"there is no file {name[:100]!r} under {folder}")
    return path


def images_among(members: Iterable[Member], left_out: LeftOut) -> Iterator[Found]:
    """The images of a tar with what is said of them in it; all that is neither is counted.

    What belongs together has names that are equal up to the first dot, as in WebDataset, wherever it stands.
    `a.2022.jpg` has `a.2022.json`, and `a.json` where there is none.
    """
    for group, together in _groups(members):
        yield from _images_of(group, _once(together, left_out), left_out)


def _groups(members: Iterable[Member]) -> list[tuple[str, list[Member]]]:
    """The members by group, in the order in which groups begin.

    A name that comes again after others begins its group anew: tars that were put together repeat names.
    """
    found: list[tuple[str, list[Member]]] = []
    latest: dict[str, list[Member]] = {}
    before = None
    for each in members:
        group = _group_of(each.name)
        own = latest.get(group)
        if own is None or (group != before and any(each.name == other.name for other in own)):
            own = latest[group] = []
            found.append((group, own))
        own.append(each)
        before = group
    return found


def _group_of(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _once(members: Iterable[Member], left_out: LeftOut) -> list[Member]:
    """The members without those whose name came before."""
    seen: dict[str, Member] = {}
    for each in members:
        if seen.setdefault(each.name, each) is not each:
            left_out.members["duplicate_name"] += 1
    return list(seen.values())


def _images_of(group: str, members: list[Member], left_out: LeftOut) -> Iterator[Found]:
    said = {_lower(each.name): each for each in members if suffix_of(each.name) in _SIDECARS}
    images = [each for each in members if is_image_name(each.name)]
    if len(images) + (len(said) if images else 0) < len(members):
        for each in members:
            if not is_image_name(each.name) and not (images and suffix_of(each.name) in _SIDECARS):
                left_out.members[_what(each.name)] += 1
    for image in images:
        key = image.name.rpartition(".")[0]
        found = {kind: said.get(f"{key}.{kind}") or said.get(f"{group}.{kind}") for kind in _SIDECARS}
        yield Found(key, group, image, {kind: each for kind, each in found.items() if each is not None})


def _lower(name: str) -> str:
    """A name, its suffix in lower case."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{suffix.lower()}"


def _what(name: str) -> str:
    return "archive_inside" if suffix_of(name) in _ARCHIVES else "not_a_picture_name"


def require_room(size: int) -> None:
    """Raise ImageError for a file that is larger than an image may be."""
    if size > MAX_MEMBER:
        raise ImageError("too_large", f"{size} bytes are more than {MAX_MEMBER}")
