"""Metadata that lies elsewhere: is it there, may we read it, what exactly is it; answered in seconds.

polars itself would try for minutes before it says that there is no network, and knows no mirror of the Hub;
so each address is looked at first, with short timeouts, and then handed over as a plain URL.
"""

import email.message
import http.client
import os
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visunex.pipeline.errors import SourceError

SECONDS = 10.0  # for one answer of a server
PARQUET_MAGIC = b"PAR1"
_MAGIC = (b"SQLite format 3\0", b"ARROW1")
_SUFFIXES = (
    ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".arrow", ".feather", ".ipc", ".sqlite", ".sqlite3", ".db",
)  # fmt: skip
_SIGNED_IN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@dataclass(frozen=True)
class Remote:
    """URLs that polars can read with `options`, and an identity (JSON) that changes with their contents.

    `convert`: they hold no parquet, and are to be fetched and converted first.
    """

    urls: tuple[str, ...]
    identity: Any
    options: Mapping[str, str] = field(default_factory=dict)
    convert: bool = False


@dataclass(frozen=True)
class Answer:
    """What a server said: `body` is cut to what was asked for."""

    status: int
    headers: email.message.Message
    body: bytes
    url: str


def locate_on_web(url: str) -> Remote:
    """A file at an http(s):// URL. Raises SourceError, saying why it cannot be read."""
    seen = look(url)
    return Remote((url,), [seen.identity], convert=not seen.parquet)


def locate_in_bucket(address: str) -> Remote:
    """An object or pattern in S3, known by sizes and times. Raises SourceError, saying why it fails.

    Without credentials in sight the bucket is read unsigned, as public ones are.
    """
    bucket = address.removeprefix("s3://").partition("/")[0]
    if not bucket:
        raise SourceError(f"{address} is not of the form s3://BUCKET/PATH")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    answer = get(endpoint or f"https://{bucket}.s3.amazonaws.com", {}, most=0)
    if answer.status == 404 and not endpoint:
        raise SourceError(f"{address}: there is no such bucket")
    options = {"aws_endpoint_url": endpoint, "aws_allow_http": "true"} if endpoint else {}
    options["aws_region"] = _region(answer)
    if not any(map(os.environ.get, _SIGNED_IN)) and not Path("~/.aws").expanduser().exists():
        options["aws_skip_signature"] = "true"  # polars would search for credentials for long
    return Remote((address,), [{"url": address, "objects": _objects(address, options)}], options)


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
    told = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return told or answer.headers.get("x-amz-bucket-region") or "us-east-1"


@dataclass(frozen=True)
class Seen:
    """What is behind a URL: its identity (JSON), and whether it is parquet rather than to be converted."""

    identity: dict[str, Any]
    parquet: bool


def look(url: str) -> Seen:
    """Ask for a file's first bytes: that it is there, of a kind that can be read, and parquet in parts."""
    answer = get(url, {"Range": "bytes=0-15"}, most=16)
    if answer.status >= 300:
        raise SourceError(f"{url}: {refusal(answer)}")
    parquet = answer.body.startswith(PARQUET_MAGIC)
    if not parquet and not _is_convertible(url, answer.body):
        kind = answer.headers.get("Content-Type", "something")
        raise SourceError(f"{url} is not a parquet file (the server sends {kind})")
    if parquet and answer.status != 206:
        raise SourceError(
            f"{url}: the server sends files only whole (no range requests); download it, give its path"
        )
    whole = answer.headers.get("Content-Length") if answer.status == 200 else None
    size = whole or answer.headers.get("Content-Range", "").rpartition("/")[2]
    return Seen({"url": url, "size": size, "etag": answer.headers.get("ETag")}, parquet)


def _is_convertible(url: str, start: bytes) -> bool:
    """Whether a file is of another kind that is read: by its first bytes, else by its name."""
    named = convertible_name(urllib.parse.urlsplit(url).path)
    return start.startswith(_MAGIC) or (named and bool(start) and not start.lstrip().startswith(b"<"))


def convertible_name(path: str) -> bool:
    """Whether a name says CSV, JSON lines (packed or not), Arrow or SQLite."""
    return path.lower().removesuffix(".gz").removesuffix(".zst").endswith(_SUFFIXES)


def refusal(answer: Answer) -> str:
    """Why a server did not give what was asked for."""
    known = {
        401: "sign-in wanted",
        403: "access refused",
        404: "not found",
        410: "gone",
        429: "too many requests",
    }
    other = "redirected to nowhere" if answer.status < 400 else "the server failed"
    return f"{known.get(answer.status, other)} (HTTP {answer.status})"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        return None


class _RedirectWithoutToken(urllib.request.HTTPRedirectHandler):
    """Follows redirects; a token is for the host it was meant for alone."""

    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        further = super().redirect_request(req, *args)
        if further is not None and further.host != req.host:
            further.remove_header("Authorization")
        return further


def get(url: str, headers: Mapping[str, str], *, most: int, redirect: bool = True) -> Answer:
    """One GET; at most `most` bytes of the answer are read. Raises SourceError when there is none."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - http(s) alone comes here
    opener = urllib.request.build_opener(_RedirectWithoutToken if redirect else _NoRedirect)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return Answer(answer.status, answer.headers, answer.read(most), answer.url)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read(1000), url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        host = urllib.parse.urlsplit(url).netloc or url
        raise SourceError(f"{host} cannot be reached: {_why(error)}") from None


def _why(error: BaseException) -> str:
    """A network error in words; without a name server there is no network."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return "its name is unknown (no network?)"
    if isinstance(reason, TimeoutError):
        return f"no answer within {SECONDS:.0f} s (no network?)"
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def authorization(token: str | None) -> dict[str, str]:
    """The header that carries a token, if there is one."""
    return {"Authorization": f"Bearer {token}"} if token else {}
