"""How polars reads files behind addresses: by a server of this process, which fetches them by our client.

polars' own HTTP client follows redirects anywhere, waits without end for a server that drips and reads the
environment's proxies. It is given addresses on 127.0.0.1 instead, with a secret in them; whatever range it
asks for there is asked of the file's server under the rules of `visunex.net`, and passed on piece by piece.
"""

import contextlib
import functools
import re
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from visunex.base.proxies import reached_directly
from visunex.net.errors import FetchError
from visunex.net.range_file import RemoteFile, Web
from visunex.net.stream import is_address

from ..inside.opened import remote_file

__all__ = ["failure_of", "relayed"]

_HOST = "127.0.0.1"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def relayed(place: str) -> str:
    """The address to read what is at an http(s) or hf:// address by; any other place is itself.

    That an earlier reader failed there is forgotten. Raises FetchError for an address that means nothing.
    """
    return _relay().address(place) if _is_fetched(place) else place


def failure_of(place: str) -> FetchError | None:
    """Why a place that was read by its `relayed` address could not be."""
    return _relay().failures.get(place) if _is_fetched(place) else None


def _is_fetched(place: str) -> bool:
    return is_address(place) or place.startswith("hf://")


@functools.cache
def _relay() -> "_Relay":
    return _Relay()


class _Relay(ThreadingHTTPServer):
    """Serves the files that have an address here, for as long as the process lives."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.failures: dict[str, FetchError] = {}
        self._secret = secrets.token_urlsafe(16)
        self._files: list[tuple[str, RemoteFile]] = []
        self._numbers: dict[tuple[str, str, Web], int] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True, name="visunex-relay").start()

    def address(self, place: str) -> str:
        """Where a file is to be read here."""
        reached_directly(_HOST)
        with self._lock:
            failed = self.failures.pop(place, None)
            file = remote_file(place)
            number = self._numbers.setdefault((place, file.name, file.web), len(self._files))
            if number == len(self._files):
                self._files.append((place, file))
            elif failed is not None:  # it may have changed, and its length with it
                self._files[number] = (place, file)
        return f"http://{_HOST}:{self.server_address[1]}/{self._secret}/{number}.parquet"

    def file(self, path: str) -> tuple[str, RemoteFile] | None:
        """The file that has an address, and its place."""
        found = re.fullmatch(r"/([\w-]+)/(\d+)\.parquet", path)
        if found is None or not secrets.compare_digest(found[1], self._secret):
            return None
        return self._files[int(found[2])] if int(found[2]) < len(self._files) else None

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up is no fault."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body must not wait for the acknowledgement of its headers
    server: _Relay

    def do_GET(self) -> None:
        """A range of a file, or why there is none: in words, with a status that is not asked again for."""
        found = self.server.file(self.path)
        if found is None:
            self._refuse("no such file")
            return
        place, file = found
        try:
            if (failed := self.server.failures.get(place)) is not None:
                raise failed
            self._send(place, file)
        except FetchError as error:
            self.server.failures[place] = error
            self._refuse(error.message)

    def _send(self, place: str, file: RemoteFile) -> None:
        begin, end = self._range(file.size)
        pieces = file.pieces(begin, end)
        first = next(pieces, b"")  # what fails at once can still be said in words
        self.send_response(206)
        self.send_header("Content-Length", str(end - begin))
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{file.size}")
        self.end_headers()
        self.wfile.write(first)
        with self._cut_at_failure(place):
            for piece in pieces:
                self.wfile.write(piece)

    def _range(self, size: int) -> tuple[int, int]:
        """The bytes [begin, end) that are asked for."""
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        start, last = (found[1], found[2]) if found else ("", "")
        if last and not start:
            return max(0, size - int(last)), size
        return int(start or 0), min(int(last) + 1, size) if last else size

    @contextlib.contextmanager
    def _cut_at_failure(self, place: str) -> Iterator[None]:
        """Within it, what fails ends the connection: the answer has begun."""
        try:
            yield
        except FetchError as error:
            self.server.failures[place] = error
            self.close_connection = True

    def _refuse(self, message: str) -> None:
        body = message.encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
