"""Objects in S3: how a bucket is reached, with the credentials that are in sight, and its files in parts."""

import functools
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.errors import first_line
from visunex.net.errors import FetchError
from visunex.net.probe import SECONDS, Answer, get
from visunex.net.range_file import CONNECTIONS, PATIENCE

if TYPE_CHECKING:
    import pyarrow.fs as fs

__all__ = ["BucketFile", "bucket_options", "file_system", "listed_bucket"]

_SIGNED_IN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_PIECE = 4 << 20  # bytes of an object that is read from front to back


def bucket_options(address: str) -> dict[str, str]:
    """How the bucket of an address is reached, in the terms of polars; without credentials unsigned.

    Raises FetchError where it is not there, or cannot be reached.
    """
    bucket = address.removeprefix("s3://").partition("/")[0]
    if not bucket:
        raise FetchError("bad_url", f"{address} is not of the form s3://BUCKET/PATH")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    answer = get(endpoint or f"https://{bucket}.s3.amazonaws.com", most=0)
    if answer.status == 404 and not endpoint:
        raise FetchError("http_404", f"{address}: there is no such bucket", status=404)
    options = {"aws_endpoint_url": endpoint, "aws_allow_http": "true"} if endpoint else {}
    options["aws_region"] = _region(answer)
    if not any(map(os.environ.get, _SIGNED_IN)) and not _has_credentials_file():
        options["aws_skip_signature"] = "true"  # polars would search for credentials for long
    return options


def file_system(options: Mapping[str, str], seconds: float = SECONDS) -> "fs.S3FileSystem":
    """The buckets that are reached so, with patience of some seconds. Raises OSError."""
    import pyarrow.fs as fs

    endpoint = urllib.parse.urlsplit(options.get("aws_endpoint_url", ""))
    return fs.S3FileSystem(
        anonymous="aws_skip_signature" in options,
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
        region=options["aws_region"],
        connect_timeout=SECONDS,
        request_timeout=seconds,
    )


def listed_bucket(address: str) -> list[str]:
    """The paths of the objects under an s3:// address, from there on. Raises FetchError."""
    import pyarrow.fs as fs

    root = address.removeprefix("s3://").rstrip("/")
    try:
        bucket = file_system(bucket_options(address))
        found = bucket.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    except OSError as error:
        raise FetchError("unreadable", f"{address} cannot be listed: {first_line(error)}") from None
    files = (each.path for each in found if each.type == fs.FileType.File)
    return [path.removeprefix(f"{root}/") for path in files]


class BucketFile:
    """The object at an s3:// address, read in parts."""

    buffer = 0  # each further request costs more than the memory

    def __init__(self, address: str) -> None:
        self.name = address

    @cached_property
    def size(self) -> int:
        """Its length in bytes. Raises FetchError."""
        return int(self._asked(lambda file: file.size()))

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), fewer at the end of the object. Raises FetchError."""
        begin, end = min(begin, self.size), min(end, self.size)
        return bytes(self._asked(lambda file: file.read_at(end - begin, begin))) if begin < end else b""

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range, several at the same time. Raises FetchError."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda each: self.read(*each), ranges))

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes [begin, end), some at a time. Raises FetchError."""
        while begin < end and (data := self.read(begin, min(begin + _PIECE, end))):
            yield data
            begin += len(data)

    def _asked(self, question: Any) -> Any:
        try:
            return question(self._file)
        except OSError as error:
            raise FetchError("unreadable", f"{self.name} cannot be read: {first_line(error)}") from None

    @cached_property
    def _file(self) -> Any:
        bucket = self.name.removeprefix("s3://").partition("/")[0]
        named = tuple(
            os.environ.get(name) for name in (*_SIGNED_IN, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
        )
        return _reached(bucket, named).open_input_file(self.name.removeprefix("s3://"))


@functools.lru_cache(8)
def _reached(bucket: str, _environment: tuple[str | None, ...]) -> "fs.S3FileSystem":
    return file_system(bucket_options(f"s3://{bucket}"), PATIENCE)


def _has_credentials_file() -> bool:
    try:
        return Path("~/.aws").expanduser().exists()
    except RuntimeError:  # no home folder
        return False


def _region(answer: Answer) -> str:
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return named or answer.headers.get("x-amz-bucket-region") or "us-east-1"
