"""Metadata that lies elsewhere: found on the web or in S3, and given as addresses to read.

Each address is looked at first, with short timeouts. polars reads http(s) by `relay`; objects in S3 it reads
itself, as they take its credentials.
"""

import hashlib
import os
import re
import urllib.parse
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from visunex.base.progress import Progress
from visunex.base.text import printable
from visunex.net.client import ClientSettings
from visunex.net.probe import SECONDS, Answer, get, refusal
from visunex.net.stream import opened_stream
from visunex.recipes import Source

from ..errors import SourceError, fetch_errors_as
from .filetypes import MAGIC_BYTES, Kind, kind_behind, why_not

__all__ = ["LARGEST", "Remote", "kind_at", "locate_in_bucket", "locate_on_web", "require_fitting"]

_SIGNED_IN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
LARGEST: int = Source.model_fields["max_bytes"].default  # bytes of a file that is read whole
_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Remote:
    """Addresses that last, read with `options`, and an identity (JSON) that changes with their contents.

    `convert`: they hold no parquet, and are to be fetched and converted first. `keys`: of each the columns
    that its folders are (`score=7/`). `remarks` say what else lies there.
    """

    urls: tuple[str, ...]
    identity: Any
    options: Mapping[str, str] = field(default_factory=dict)
    convert: bool = False
    keys: tuple[Mapping[str, str | None], ...] = ()
    remarks: tuple[str, ...] = ()


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
        what = why_not(answer.body)
        said = f": it {what}" if what else ""
        raise SourceError(f"{address} is not a parquet file (the server sends {sent}){said}")
    if kind == "parquet" and answer.status != 206:
        raise SourceError(
            f"{address}: the server sends files only whole (no range requests); download it, give its path"
        )
    return kind


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
    """An object or pattern in S3, known by sizes and times. Raises SourceError, saying why it fails.

    Without credentials in sight the bucket is read unsigned, as public ones are.
    """
    bucket = address.removeprefix("s3://").partition("/")[0]
    if not bucket:
        raise SourceError(f"{address} is not of the form s3://BUCKET/PATH")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    answer = get(endpoint or f"https://{bucket}.s3.amazonaws.com", most=0)
    if answer.status == 404 and not endpoint:
        raise SourceError(f"{address}: there is no such bucket")
    options = {"aws_endpoint_url": endpoint, "aws_allow_http": "true"} if endpoint else {}
    options["aws_region"] = _region(answer)
    if not any(map(os.environ.get, _SIGNED_IN)) and not _has_credentials_file():
        options["aws_skip_signature"] = "true"  # polars would search for credentials for long
    return Remote((address,), [{"url": address, "objects": _objects(address, options)}], options)


def _has_credentials_file() -> bool:
    try:
        return Path("~/.aws").expanduser().exists()
    except RuntimeError:  # no home folder
        return False


def _objects(address: str, options: Mapping[str, str]) -> list[list[str | int]] | None:
    """[name, bytes, time] of the object, or of all below the folder that a pattern begins with.

    None where they cannot be listed, or the pattern begins at the bucket itself, which may hold millions.
    """
    import pyarrow.fs as fs

    place = re.split(r"[*?\[]", address.removeprefix("s3://"), maxsplit=1)[0]
    folder = place if place.endswith("/") else place.rpartition("/")[0]
    endpoint = urllib.parse.urlsplit(options.get("aws_endpoint_url", ""))
    try:
        bucket = fs.S3FileSystem(
            anonymous="aws_skip_signature" in options,
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme or "https",
            region=options["aws_region"],
            connect_timeout=SECONDS,
            request_timeout=SECONDS,
        )
        found = [bucket.get_file_info(place.rstrip("/"))]
        if found[0].type != fs.FileType.File:
            if not folder.partition("/")[2]:
                return None
            found = bucket.get_file_info(fs.FileSelector(folder.rstrip("/"), recursive=True))
    except OSError:  # polars, which reads it next, says what is wrong
        return None
    return sorted([each.path, each.size, each.mtime_ns] for each in found if each.type == fs.FileType.File)


def _region(answer: Answer) -> str:
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return named or answer.headers.get("x-amz-bucket-region") or "us-east-1"
