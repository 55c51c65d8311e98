"""The demo world's web server: real HTTP on this machine's loopback, with the link rot of the real web."""

import contextlib
import http.client
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from visunex.base.errors import VisunexError

from .world import Entry, World, placeholder

__all__ = ["PORT", "PORT_VARIABLE", "DemoServer", "default_port", "serve"]

PORT = 8767
PORT_VARIABLE = "VISUNEX_DEMO_PORT"
HOST = "127.0.0.1"
IDENTITY = "/identity.json"

_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_GONE = b"<!doctype html><title>Not here</title><p>The page you asked for has moved. Try our home page.</p>"


class PortError(VisunexError):
    """The demo's port cannot be had."""


def default_port() -> int:
    """$VISUNEX_DEMO_PORT, else 8767. One fixed port: the addresses in the metadata must outlive a server."""
    text = os.environ.get(PORT_VARIABLE) or str(PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise PortError(f"${PORT_VARIABLE} is {text!r}; it must be a port number from 1 to 65535")
    return int(text)


class Handler(BaseHTTPRequestHandler):
    """Answers for one picture as its entry's fate has it."""

    server: "DemoServer"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    timeout = 30  # seconds until an idle connection is closed

    def do_GET(self) -> None:
        """A picture, the world's identity, or 404."""
        if self.path == IDENTITY:
            return self._send(200, json.dumps(self.server.world.identity).encode(), "application/json")
        entry = self._entry()
        if entry is None:
            return self._send(404, b"no such picture\n")
        return self._answer(entry)

    def _answer(self, entry: Entry) -> None:
        moved = self.path.startswith("/moved")
        match entry.fate:
            case "missing":
                self._send(404, b"not found\n")
            case "forbidden":
                self._send(403, b"forbidden\n")
            case "flaky" if self.server.is_first_visit(entry):
                self._send(500, b"try again\n")
            case "redirect" if not moved:
                self._send(302, b"", Location=f"/moved{entry.path}")
            case "html":
                self._send(200, _GONE, "text/html; charset=utf-8")
            case "placeholder":
                self._send(200, placeholder(), "image/jpeg")
            case "truncated":
                self._truncate(self.server.image_file(entry), _TYPES[entry.extension])
            case "hanging":
                self.server.stopping.wait(self.timeout)
                self.close_connection = True
            case _:
                self._send(200, self.server.image_file(entry), _TYPES[entry.extension])

    def _entry(self) -> Entry | None:
        found = re.fullmatch(r"(?:/moved)?(/pictures/(\d{1,9})\.\w+)", self.path)
        entries = self.server.world.entries
        if found is None or int(found[2]) >= len(entries):
            return None
        entry = entries[int(found[2])]
        return entry if entry.path == found[1] else None

    def _send(self, status: int, body: bytes, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _truncate(self, image_file: bytes, kind: str) -> None:
        """Promise the whole picture, send half and hang up."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(image_file)))
        self.end_headers()
        self.wfile.write(image_file[: len(image_file) // 2])
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal belongs to the command that runs the server."""


class DemoServer(ThreadingHTTPServer):
    """Serves a world on the loopback. `close()` returns at once, also while clients hang on it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, world: World, port: int = 0) -> None:
        self.world, self.stopping = world, threading.Event()
        self._image_files: dict[int, bytes] = {}
        self._visited: set[int] = set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        """The base of every URL: `http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self.server_port}"

    def image_file(self, entry: Entry) -> bytes:
        """The file of an entry, drawn when it is first asked for."""
        if entry.row not in self._image_files:
            self._image_files[entry.row] = entry.image_file()
        return self._image_files[entry.row]

    def is_first_visit(self, entry: Entry) -> bool:
        """True once for each entry."""
        with self._lock:
            first = entry.row not in self._visited
            self._visited.add(entry.row)
        return first

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that closing the server can close it."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no fault."""

    def close(self) -> None:
        """Stop, and hang up on everyone."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            hanging = list(self._open)
        for connection in hanging:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serve(port: int | None = None, world: World | None = None) -> Iterator[str]:
    """Serve the demo world for the length of the block; yields the base of its URLs.

    `port` None means `default_port()`; 0 means any that is free. Where this very world is served on the port
    already, that server is used, and replaced should it end first. Raises PortError when another program has
    the port.
    """
    world = world or World()
    port = default_port() if port is None else port
    try:
        server = DemoServer(world, port)
    except (OSError, OverflowError) as error:
        address = _address_of_running(world, port, error)
        with _standing_by(world, port):
            yield address
        return
    with _running(server):
        yield server.address


@contextlib.contextmanager
def _running(server: DemoServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()
        thread.join()


@contextlib.contextmanager
def _standing_by(world: World, port: int) -> Iterator[None]:
    """Serve as soon as the port is free: the command that serves the world now may end before this one."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            with contextlib.suppress(OSError), _running(DemoServer(world, port)):
                done.wait()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _address_of_running(world: World, port: int, error: Exception) -> str:
    if _identity(port) == world.identity:
        return f"http://{HOST}:{port}"
    reason = "another program has it" if isinstance(error, OSError) else str(error)
    raise PortError(
        f"the demo world cannot be served on port {port} of this machine: {reason}; "
        f"set ${PORT_VARIABLE} to a free port"
    ) from None


def _identity(port: int) -> object:
    """What the server on `port` says it is; None when it does not speak as ours does."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", IDENTITY)
        return json.loads(connection.getresponse().read(1000))
    except (OSError, http.client.HTTPException, ValueError, OverflowError):
        return None
    finally:
        connection.close()
