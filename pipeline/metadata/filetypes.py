"""The kinds of file that metadata comes in, recognised by their first bytes (magic numbers) or names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ..errors import SourceError

__all__ = [
    "FOLDER_KINDS",
    "FOLDER_SUFFIXES",
    "GZIP",
    "MAGIC_BYTES",
    "ZSTD",
    "Kind",
    "is_parquet",
    "kind_behind",
    "kind_by_magic",
    "kind_by_name",
    "kind_of",
    "stand_in",
]

Kind = Literal["parquet", "arrow", "sqlite", "csv", "tsv", "jsonl", "txt", "tar", "zip"]

_MAGIC: Mapping[bytes, Kind] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"SQLite format 3\0": "sqlite",
    b"PK\3\4": "zip",
}
_TAR, _TAR_AT = b"ustar", 257  # POSIX.1-1988
MAGIC_BYTES = 512  # of a file's start, more than say what it is
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # what packed text begins with
_PACKED = (".gz", ".zst")
_BY_SUFFIX: Mapping[str, Kind] = {
    ".csv": "csv", ".tsv": "tsv", ".txt": "txt", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite", ".tar": "tar", ".zip": "zip",
}  # fmt: skip
_TEXTS = (".jsonl", ".ndjson"), (".csv",), (".tsv",)
# Of a folder, the files of the first of these kinds that it has are its metadata.
FOLDER_KINDS: tuple[tuple[str, ...], ...] = (
    (".parquet", ".pq", ".parq"),
    (".arrow", ".feather", ".ipc"),
    *(tuple(name + packed for name in names for packed in ("", *_PACKED)) for names in _TEXTS),
    (".sqlite", ".sqlite3", ".db"),
    (".tar",),
    (".zip",),
)
FOLDER_SUFFIXES = tuple(suffix for kind in FOLDER_KINDS for suffix in kind)
_LFS = b"version https://git-lfs"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")


def kind_of(path: Path) -> Kind:
    """The kind of a local file, by its first bytes where these say it, else by its name, else parquet.

    Raises SourceError for a file that cannot be read, and for one that only stands in for the real one.
    """
    start = _start(path, MAGIC_BYTES)
    if (what := stand_in(start)) is not None:
        raise SourceError(f"{path} {what}")
    return kind_by_magic(start) or kind_by_name(path.name) or "parquet"


def stand_in(start: bytes) -> str | None:
    """What a file that begins so is, and what to do, when it stands in for the real one; else None."""
    if not start:
        return "is empty: the copying or the download of it failed; fetch it again, or remove it"
    if start.startswith(_LFS):
        return (
            "is a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned, or download "
            "the file (of a page on the Hub: /resolve/ in place of /blob/ or /raw/)"
        )
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return (
            "is a web page under that name, not the file: download it again (of a page on the Hub: /resolve/ "
            "in place of /blob/; a set that is gated needs a token)"
        )
    return None


def is_parquet(path: str | Path) -> bool:
    """Whether a local file begins as parquet does. Raises SourceError for one that cannot be read."""
    return kind_by_magic(_start(path, 4)) == "parquet"


def kind_by_magic(start: bytes) -> Kind | None:
    """The kind that a file's first MAGIC_BYTES bytes say; None for text and whatever else."""
    if start[_TAR_AT:].startswith(_TAR):
        return "tar"
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def kind_by_name(name: str) -> Kind | None:
    """The kind, other than parquet, that a file's name or a URL's path says, packed or not; else None."""
    name = name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return next((kind for suffix, kind in _BY_SUFFIX.items() if name.endswith(suffix)), None)


def kind_behind(path: str, start: bytes) -> Kind | None:
    """The kind of a file behind an address, by its first bytes, else by the address's path; None: of no use.

    A web page under such a name ("not found", say) is of no use.
    """
    if kind := kind_by_magic(start):
        return kind
    return None if stand_in(start) or start.lstrip().startswith(b"<") else kind_by_name(path)


def _start(path: str | Path, count: int) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a text, as polars takes it
            return file.read(count)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
