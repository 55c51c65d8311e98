"""Metadata that lies elsewhere: found on the web or in S3, and given as addresses to read.

Each address is looked at first, with short timeouts. polars reads http(s) by `relay`; objects in S3 it reads
itself, as they take its credentials.
"""

import hashlib
import re
import urllib.parse
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from visunex.base.errors import first_line
from visunex.base.progress import Progress
from visunex.base.text import printable
from visunex.net.client import ClientSettings
from visunex.net.probe import Answer, get, refusal
from visunex.net.stream import opened_stream
from visunex.recipes import Source

from ..errors import SourceError, fetch_errors_as
from ..inside.bucket import BucketFile, bucket_options, file_system
from .filetypes import FOLDER_SUFFIXES, MAGIC_BYTES, Kind, kind_behind, why_not
from .folders import hive_keys, not_read, of_first_kind, passed_over
from .hub.splits import below, is_shown, matches

if TYPE_CHECKING:
    import pyarrow.fs as fs

__all__ = [
    "LARGEST",
    "Remote",
    "kind_at",
    "locate_in_bucket",
    "locate_on_web",
    "require_fitting",
]

LARGEST: int = Source.model_fields["max_bytes"].default  # bytes of a file that is read whole
_CHUNK = 1 << 20  # bytes
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Remote:
    """Addresses that last, read with `options`, and an identity (JSON) that changes with their contents.

    `convert`: they hold no parquet, and are to be fetched and converted first. `keys`: of each the columns
    that its folders are (`score=7/`). `remarks` say what else lies there, `licence` what a page says of that,
    `features` what it says of columns (as `datasets` describes them).
    """

    urls: tuple[str, ...]
    identity: Any
    options: Mapping[str, str] = field(default_factory=dict)
    convert: bool = False
    keys: tuple[Mapping[str, str | None], ...] = ()
    remarks: tuple[str, ...] = ()
    licence: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)


@fetch_errors_as(SourceError)
def locate_on_web(url: str) -> Remote:
    """A file at an http(s):// URL. Raises SourceError, saying why it cannot be read."""
    identity, parquet = _look(url)
    return Remote((url,), [identity], convert=not parquet)


def _look(url: str) -> tuple[dict[str, Any], bool]:
    """What tells a file's contents from others (JSON), and whether it is parquet rather than to be converted.

    Its first bytes are asked for. Raises SourceError or FetchError: it is not there, of no kind that is
    read, or parquet on a server that does not send files in parts.
    """
    answer = get(url, {"Range": f"bytes=0-{MAGIC_BYTES - 1}"}, most=MAGIC_BYTES)
    if answer.status >= 300:
        raise SourceError(f"{url}: {refusal(answer)}")
    kind = kind_at(url, urllib.parse.urlsplit(url).path, answer)
    whole = answer.headers.get("Content-Length") if answer.status == 200 else None
    size = whole or answer.headers.get("Content-Range", "").rpartition("/")[2]
    return {"url": url, "size": size, **_version(url, answer)}, kind == "parquet"


def kind_at(address: str, path: str, answer: Answer) -> Kind:
    """The kind of a file by its name and by the answer to a request for its first bytes.

    Raises SourceError: of no kind that is read, or parquet on a server that does not send files in parts.
    """
    kind = kind_behind(path, answer.body)
    if kind is None:
        sent = answer.headers.get("Content-Type", "something")
        raise SourceError(f"{address} is not a parquet file (the server sends {sent}){_what(answer.body)}")
    if kind == "parquet" and answer.status != 206:
        raise SourceError(
            f"{address}: the server sends files only whole (no range requests); download it, give its path"
        )
    return kind


def _what(start: bytes) -> str:
    """What a file that begins so is, where that is known."""
    what = why_not(start)
    return f": it {what}" if what else ""


def _version(url: str, answer: Answer) -> dict[str, str | None]:
    """What the server says of the file's contents; where it says nothing, a hash of them all."""
    etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
    if etag:
        return {"etag": etag}
    if modified:
        return {"etag": None, "last_modified": modified}
    said = f"{url}: the server gives neither ETag nor Last-Modified, so it is read anew to know its contents"
    click.echo(printable(said), err=True)
    return {"etag": None, "sha256": _hash_of(url)}


def _hash_of(url: str) -> str:
    """SHA-256 of what is behind a URL. Raises FetchError, SourceError."""
    digest = hashlib.sha256()
    try:
        with opened_stream(url, ClientSettings()) as stream, Progress("read", None, unit="MB") as shown:
            for number, data in enumerate(iter(lambda: stream.read(_CHUNK), b"")):
                require_fitting(url, number * _CHUNK + len(data), LARGEST)
                digest.update(data)
                shown.update(number)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{url} cannot be read whole: {error}") from None
    return digest.hexdigest()


def require_fitting(url: str, size: int, most: int) -> None:
    """Raise SourceError when so many bytes of a file are too many."""
    if size > most:
        raise SourceError(f"{url} is larger than {most} bytes (--set source.max_bytes=N); is it metadata?")


@fetch_errors_as(SourceError)
def locate_in_bucket(address: str) -> Remote:
    """The files at an object, folder or pattern in S3, known by sizes and times, as of a folder here.

    Without credentials in sight the bucket is read unsigned, as public ones are. Raises SourceError, saying
    why it fails.
    """
    path, options = address.removeprefix("s3://"), bucket_options(address)
    listed, others = _objects(address, options), ""
    if listed is not None and [each.path for each in listed] != [path]:
        listed, others = _meant(address, listed)
    names = [path] if listed is None else [each.path for each in listed]
    states = None if listed is None else [[each.path, each.size, each.mtime_ns] for each in listed]
    return Remote(
        tuple(f"s3://{name}" for name in names),
        [{"url": address, "objects": states}],
        options,
        convert=_kind_in_bucket(listed) != "parquet",
        keys=tuple(hive_keys(below(path, name)) for name in names),
        remarks=(not_read(address, others),) if others else (),
    )


def _objects(address: str, options: Mapping[str, str]) -> "list[fs.FileInfo] | None":
    """The object, or those that a folder or pattern may mean, in order; None for one that cannot be seen.

    Raises SourceError where there are several and they cannot be listed.
    """
    import pyarrow.fs as fs

    path = address.removeprefix("s3://")
    try:
        bucket = file_system(options)
        there = None if _MAGIC.search(path) else bucket.get_file_info(path.rstrip("/"))
        if there is not None and there.type == fs.FileType.File:
            return [there]
        found = sorted(_listed(bucket, path), key=lambda each: each.path)
        return found if found or not _may_be_one(path) else None
    except OSError as error:
        if not _may_be_one(path):
            said = f"what is there cannot be listed ({first_line(error)}); name a file of it"
            raise SourceError(f"{address}: {said}") from None
        return None  # polars, which reads it next, says what is wrong


def _may_be_one(path: str) -> bool:
    """Whether a path may be that of an object, rather than of a folder or a pattern."""
    return not (path.endswith("/") or _MAGIC.search(path))


def _listed(bucket: "fs.S3FileSystem", path: str) -> "list[fs.FileInfo]":
    """The objects in a folder, or that a pattern may mean, which is gone along folder by folder."""
    import pyarrow.fs as fs

    def inside(folder: str, *, recursive: bool) -> list[fs.FileInfo]:
        found: list[fs.FileInfo] = bucket.get_file_info(fs.FileSelector(folder, recursive=recursive))
        return [each for each in found if each.path.startswith(f"{folder}/")]

    root = _MAGIC.split(path, maxsplit=1)[0]
    root = root.rstrip("/") if root == path else root.rpartition("/")[0]
    parts = path[len(root) :].strip("/").split("/") if root != path.rstrip("/") else []
    if not parts or "**" in path:
        return [each for each in inside(root, recursive=True) if each.type == fs.FileType.File]
    folders, found = [root], list[fs.FileInfo]()
    for part in parts:
        found = [each for folder in folders for each in inside(folder, recursive=False)]
        found = [each for each in found if fnmatchcase(each.base_name, part)]
        folders = [each.path for each in found if each.type == fs.FileType.Directory]
    return [each for each in found if each.type == fs.FileType.File]


def _meant(address: str, listed: "list[fs.FileInfo]") -> "tuple[list[fs.FileInfo], str]":
    """The files of the first kind among objects, without what is hidden, and what else is there.

    Raises SourceError where there is none.
    """
    path = address.removeprefix("s3://")
    is_meant = matches if _MAGIC.search(path) else is_shown
    shown = [each for each in listed if is_meant(each.path, path)]
    found = of_first_kind(shown, lambda each: each.path)
    others = passed_over((each.path for each in shown), (each.path for each in found))
    if not found:
        having = f" (there is {others})" if others else ""
        raise SourceError(f"{address}: none of {', '.join(FOLDER_SUFFIXES)} is there{having}")
    return found, others


def _kind_in_bucket(listed: "list[fs.FileInfo] | None") -> Kind:
    """The kind of objects, by the bytes that the first begins with; parquet of what cannot be seen.

    Raises SourceError for one that is not read, and FetchError.
    """
    if not listed:
        return "parquet"
    first = f"s3://{listed[0].path}"
    start = BucketFile(first).read(0, MAGIC_BYTES)
    kind = kind_behind(listed[0].path, start)
    if kind is None:
        raise SourceError(f"{first} is not a file that can be read{_what(start)}")
    return kind
