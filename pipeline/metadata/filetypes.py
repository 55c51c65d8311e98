"""The kinds of file that metadata comes in, recognised by their first bytes (magic numbers) or names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ..errors import SourceError
from .formats.unread import READ, is_text, unread

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
    "no_parquet",
    "why_not",
]

Kind = Literal["parquet", "arrow", "sqlite", "csv", "tsv", "jsonl", "txt", "tar", "zip", "folder"]

_MAGIC: Mapping[bytes, Kind] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"SQLite format 3\0": "sqlite",
    b"PK\3\4": "zip",
}
_TAR, _TAR_AT = b"ustar", 257  # POSIX.1-1988
MAGIC_BYTES = 512  # of a file's start, more than say what it is
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # what packed text begins with
_JSON = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*\{|\{\s*")')
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
_PACKABLE = frozenset({"csv", "tsv", "txt", "jsonl", "tar"})  # a packed tar is refused by what reads tars
FOLDER_SUFFIXES = tuple(suffix for kind in FOLDER_KINDS for suffix in kind)


def kind_of(path: Path) -> Kind:
    """The kind of a local file, by its first bytes where these say it, else by its name, else parquet.

    A folder that is a source itself is one of pictures. Raises SourceError for a file that cannot be read,
    and for one of a kind that is not.
    """
    if path.is_dir():
        return "folder"
    start = _start(path, MAGIC_BYTES)
    if (what := why_not(start)) is not None:
        raise SourceError(f"{path} {what}")
    kind = kind_by_magic(start) or kind_by_name(path.name) or _kind_by_text(start) or "parquet"
    if start.startswith((GZIP, ZSTD)) and kind not in _PACKABLE:
        how, unpack = ("gzip", "gunzip -k") if start.startswith(GZIP) else ("zstd", "unzstd")
        raise SourceError(
            f"{path} is packed by {how}, and by its name no text: unpack it first ({unpack}); text is to be "
            "called .csv.gz, .tsv.gz, .jsonl.gz or .txt.gz, or the same with .zst"
        )
    return kind


def no_parquet(path: str) -> str | None:
    """What a local file is that was taken for parquet; None where it looks like it. Raises SourceError."""
    start = _start(path, MAGIC_BYTES)
    if kind_by_magic(start) == "parquet":
        with open(path, "rb") as file:  # noqa: PTH123 - a text, as polars takes it
            file.seek(-min(4, file.seek(0, 2)), 2)
            whole = kind_by_magic(file.read()) == "parquet"
        return None if whole else "is parquet that was cut short, as its end is not there: fetch it again"
    if is_text(start):
        return (
            "is text, and its name does not say of which form: call it .csv, .tsv, .jsonl, or .txt for a "
            "list of links"
        )
    return f"is of no kind that is read; {READ}"


def is_parquet(path: str | Path) -> bool:
    """Whether a local file begins as parquet does. Raises SourceError for one that cannot be read."""
    return not Path(path).is_dir() and kind_by_magic(_start(path, 4)) == "parquet"


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
    if why_not(start):
        return None
    named = None if start.lstrip().startswith(b"<") else kind_by_name(path)
    return kind_by_magic(start) or named or _kind_by_text(start)


def _kind_by_text(start: bytes) -> Kind | None:
    """JSON, which its first letters say where no name does."""
    return "jsonl" if _JSON.match(start) else None


def why_not(start: bytes) -> str | None:
    """What a file that begins so is, and what to do, where it is of no kind that is read; else None."""
    return unread(start) if kind_by_magic(start) in (None, "zip") else None


def _start(path: str | Path, count: int) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a text, as polars takes it
            return file.read(count)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
