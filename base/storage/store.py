"""A folder in an object store, by fsspec: its objects are listed, fetched, put and removed, with patience."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import VisunexError, first_line
from ..files import atomic
from ..text import printable

__all__ = ["PATIENCE", "Changed", "Found", "StorageError", "Store"]

T = TypeVar("T")

PATIENCE = 300.0  # seconds that a store which does not answer is waited for
_CONNECTIONS = 8  # files moved at the same time
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds
_SAID_AFTER = 3.0  # seconds
_CLIENTS = ("aiobotocore.", "aiohttp.", "asyncio.", "botocore.", "http.", "requests.", "urllib3.")
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError")
_S3 = ("s3://", "s3a://")  # whose client an extra of ours brings
_ABSENT, _MET, _CANNOT = (404,), (409, 412), (400, 405, 501)  # statuses of answers to conditional writes


class StorageError(VisunexError):
    """An object store that cannot be reached, or refuses what is asked of it."""


class Changed(Exception):  # noqa: N818 - an answer rather than an error
    """An object is not, or no longer, in the state on whose condition it was to be written."""


@dataclass(frozen=True)
class Found:
    """An object that was read: its bytes, the state that it was in, and for how many seconds it had been."""

    data: bytes
    state: str
    age: float


class Store:
    """The objects under an address, called by their names below it."""

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        self.address, self._patience = address.rstrip("/"), patience
        self.is_conditional = True  # whether it can write on a condition, as far as is known

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path of the folder in it. Raises StorageError."""
        try:
            import fsspec.core

            if self.address.startswith(_S3):
                import s3fs  # noqa: F401 - a clear error where it is not here

            return fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            in_s3 = self.address.startswith(_S3)
            advice = "pip install 'visunex[s3]'" if in_s3 else "fsspec has no client for it here"
            raise StorageError(f"{self.address} cannot be opened ({first_line(error)}): {advice}") from None

    @property
    def _files(self) -> Any:
        return self._opened[0]

    def _path(self, name: str) -> str:
        return f"{self._opened[1]}/{name}" if name else self._opened[1]

    def listed(self) -> dict[str, tuple[int, str]]:
        """The size and the state of each object, by its name. Raises StorageError."""
        try:
            found = self._tried("be listed", lambda: self._files.find(self._path(""), detail=True))
        except FileNotFoundError as error:
            raise StorageError(self._why("be listed", error, 0)) from None
        cut = len(self._path("")) + 1
        sized = {path[cut:]: (int(about.get("size") or 0), _state(about)) for path, about in found.items()}
        return {name: about for name, about in sized.items() if name}

    def beside(self) -> dict[str, int]:
        """The size of each object that lies right in the folder, by its name. Raises StorageError."""
        try:
            found = self._tried("be listed", lambda: self._files.ls(self._path(""), detail=True))
        except FileNotFoundError:
            return {}
        files = (each for each in found if each.get("type") == "file")
        return {each["name"].rpartition("/")[2]: int(each.get("size") or 0) for each in files}

    def has(self, name: str) -> bool:
        """Whether an object is there. Raises StorageError."""
        return bool(self._tried("be read", lambda: self._files.exists(self._path(name))))

    def read(self, name: str, begin: int | None = None, end: int | None = None) -> bytes:
        """The bytes of an object, or those of [begin, end). Raises StorageError, FileNotFoundError."""
        path = self._path(name)
        return bytes(self._tried("be read", lambda: self._files.cat_file(path, start=begin, end=end)))

    def fetch(self, name: str, to: Path) -> None:
        """Copy an object here, whole or not at all. Raises StorageError, FileNotFoundError."""
        with atomic(to) as temporary:
            self._tried("be read", lambda: self._files.get_file(self._path(name), str(temporary)))

    def put(self, file: Path, name: str) -> None:
        """Copy a file there. Raises StorageError; FileNotFoundError where there is no such file."""
        file.stat()
        self._tried("be written", lambda: self._files.put_file(str(file), self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Write an object. Raises StorageError."""
        self._tried("be written", lambda: self._files.pipe_file(self._path(name), data))

    def remove(self, names: Collection[str]) -> None:
        """Remove objects, if they are there. Raises StorageError."""

        def remove(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._tried("be written", lambda: self._files.rm_file(self._path(name)))

        list(self.in_parallel(remove, names))

    def in_parallel(self, work: Callable[[str], T], names: Collection[str]) -> Iterator[T]:
        """What `work` gives for each name, several at the same time."""
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            yield from pool.map(work, names)

    def find(self, name: str) -> Found | None:
        """An object with its state and age, both by the store's own clock where it tells the time."""
        path = self._path(name)
        try:
            if not hasattr(self._files, "call_s3"):
                about = self._tried("be read", lambda: self._files.info(path))
                return Found(self.read(name), _state(about), _age(about))
            answer = self._tried("be read", lambda: self._files.call_s3("head_object", **self._named(path)))
            return Found(self.read(name), str(answer["ETag"]), _age_by_server(answer))
        except FileNotFoundError:
            return None

    def write_if(self, name: str, data: bytes, state: str | None) -> str:
        """Write an object that is still in `state` (None: that is not there); the state that it is in then.

        Raises Changed, StorageError. A store that cannot write on a condition is looked at before instead.
        """
        path = self._path(name)
        if self.is_conditional and hasattr(self._files, "call_s3"):
            condition = {"IfNoneMatch": "*"} if state is None else {"IfMatch": state}
            asked = {**self._named(path), "Body": data, **condition}
            try:
                answer = self._tried("be written", lambda: self._files.call_s3("put_object", **asked))
                return str(answer["ETag"])
            except _RefusedError as refused:
                if refused.status in (*_MET, *(_ABSENT if state is not None else ())):
                    raise Changed from None
        self.is_conditional = False
        found = self.find(name)
        if (None if found is None else found.state) != state:
            raise Changed
        self.write(name, data)
        written = self.find(name)
        if written is None or written.data != data:
            raise Changed
        return written.state

    def _named(self, path: str) -> dict[str, str]:
        bucket, key, _ = self._files.split_path(path)
        return {"Bucket": bucket, "Key": key}

    def _tried(self, what: str, work: Callable[[], T]) -> T:
        """What `work` gives, tried for as long as there is patience with a store that does not answer.

        Raises StorageError; FileNotFoundError, and _RefusedError for a condition.
        """
        began, pause, said = time.monotonic(), _FIRST_PAUSE, False
        while True:
            try:
                return work()
            except (FileNotFoundError, VisunexError):
                raise
            except Exception as error:  # clients of stores raise anything
                if (status := _status(error)) in (*_MET, *_CANNOT):
                    raise _RefusedError(self._why(what, error, 0), status or 0) from None
                waited = time.monotonic() - began
                if _is_final(error) or waited + pause > self._patience:
                    raise StorageError(self._why(what, error, waited)) from None
                if not said and waited >= _SAID_AFTER:
                    said = True
                    text = f"{self.address} does not answer; it is waited for ({first_line(error)})"
                    click.echo(printable(f"storage: {text}"), err=True)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _why(self, what: str, error: Exception, waited: float) -> str:
        said = first_line(error)
        if _kind(error) in _NO_CREDENTIALS:
            return (
                f"{self.address} cannot {what}: no credentials are in sight; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        long = f", for {waited:.0f} s" if waited > 1 else ""
        return f"{self.address} cannot {what}{long}: {said}"


class _RefusedError(StorageError):
    """An answer to what was asked on a condition, with its `status`."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, where it does."""
    for each in (error, error.__cause__):
        answer = getattr(each, "response", None)
        if isinstance(answer, dict):
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status if isinstance(status, int) else None
    return None


def _is_final(error: Exception) -> bool:
    """Whether waiting does not help."""
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
        return True
    if _kind(error) in (*_NO_CREDENTIALS, "ProfileNotFound", "ParamValidationError"):
        return True
    if not isinstance(error, OSError) and not type(error).__module__.startswith(_CLIENTS):
        return True
    status = _status(error)
    return status is not None and 400 <= status < 500 and status not in (408, 425, 429)


def _state(about: dict[str, Any]) -> str:
    """What changes when an object does: what the store calls its state, else its size and time."""
    for name in ("ETag", "etag", "md5Hash", "content_md5"):
        if about.get(name):
            return str(about[name])
    return f"{about.get('size')}-{_time(about)}"


def _time(about: dict[str, Any]) -> float:
    found = about.get("LastModified") or about.get("mtime") or about.get("updated") or about.get("created")
    as_number = getattr(found, "timestamp", None)
    return float(as_number()) if as_number else float(found or 0)


def _age(about: dict[str, Any]) -> float:
    return max(0.0, time.time() - _time(about))


def _age_by_server(answer: dict[str, Any]) -> float:
    from email.utils import parsedate_to_datetime

    now = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    try:
        return max(0.0, (parsedate_to_datetime(now) - answer["LastModified"]).total_seconds())
    except (TypeError, ValueError):
        return _age(answer)
