"""A web server that can go and come back at the same port, as a network does."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hostile


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.awake.wait()  # type: ignore[attr-defined]
        body = hostile.picture(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.served += 1  # type: ignore[attr-defined]

    def log_message(self, *_: Any) -> None: ...


class _Server(ThreadingHTTPServer):
    request_queue_size = 200
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.served, self.awake = 0, threading.Event()
        self.awake.set()
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, *_: Any) -> None: ...

    def cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class VanishingServer:
    """Pictures at every path while it is there."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self.served_before, self.port = 0, 0
        self.come()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def served(self) -> int:
        return self.served_before + (self._server.served if self._server else 0)

    def come(self) -> None:
        self._server = _Server(self.port)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def fall_silent(self) -> None:
        """Take connections and never answer, as a stopped process does."""
        if self._server is not None:
            self._server.awake.clear()

    def wake(self) -> None:
        if self._server is not None:
            self._server.awake.set()

    def go(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.awake.set()
            self.served_before += server.served
            server.shutdown()
            server.server_close()
            server.cut()


@contextlib.contextmanager
def vanishing() -> Iterator[VanishingServer]:
    server = VanishingServer()
    try:
        yield server
    finally:
        server.go()
