"""A loopback server that allows so many requests a second, and tells who asks more often to slow down."""

import contextlib
import email.utils
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hostile


class ThrottledServer(ThreadingHTTPServer):
    """Answers with pictures: at once up to `burst`, then `rate` a second; what is more gets `status`.

    `retry_after` is the header it gives then, in seconds or with `as_date` as a date. `visits` counts
    requests by status.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(
        self,
        rate: float,
        burst: float | None = None,
        status: int = 429,
        retry_after: int | None = None,
        *,
        as_date: bool = False,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rate, self.burst = rate, rate if burst is None else burst
        self.status, self.retry_after, self.as_date = status, retry_after, as_date
        self.visits = Counter[int]()
        self._left, self._at, self._lock = self.burst, time.monotonic(), threading.Lock()

    @property
    def base(self) -> str:
        """The base of its URLs."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def admit(self) -> bool:
        """Whether a request is answered with a picture."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self.burst, self._left + (now - self._at) * self.rate)
            self._at = now
            admitted = self._left >= 1
            self._left -= admitted
            self.visits[200 if admitted else self.status] += 1
        return admitted

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no fault."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ThrottledServer

    def do_GET(self) -> None:
        """A picture, or that it is too much."""
        server = self.server
        admitted = server.admit()
        body = hostile.picture(self.path) if admitted else b""
        self.send_response(200 if admitted else server.status)
        if not admitted and server.retry_after is not None:
            date = email.utils.formatdate(time.time() + server.retry_after, usegmt=True)
            self.send_header("Retry-After", date if server.as_date else str(server.retry_after))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def throttled(*given: float, **settings: object) -> Iterator[ThrottledServer]:
    """A running server that throttles."""
    server = ThrottledServer(*given, **settings)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
