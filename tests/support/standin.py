"""A loopback server that stands in for a web server, for the Hub's HTTP interface and for S3."""

import contextlib
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Pages = dict[str, "Page"]


@dataclass
class Page:
    """What is at a path: `token` (and none else) may read it, `location` redirects, `ranges` are served.

    Of what is larger than 1000 bytes, the first `cuts` answers break off in the middle, and after
    `drips_after` answers a byte comes now and then. After `fails_after` requests all answers are 503.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    token: str | None = None
    location: str | None = None
    cuts: int = 0
    drips_after: int | None = None
    answers: int = 0
    fails_after: int | None = None
    requests: int = 0


@dataclass
class StandIn:
    """The server's address, its pages by path (with the query, where that matters), and what was asked.

    `asked` are paths and Authorizations, `agents` who asked, `sent` the bytes of bodies.
    """

    address: str
    pages: Pages
    asked: list[tuple[str, str | None]]
    agents: set[str] = field(default_factory=set)
    sent: int = 0


@contextlib.contextmanager
def serving(pages: Pages, host: str = "127.0.0.1") -> Iterator[StandIn]:
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a body must not wait for the acknowledgement of its headers

        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            standin.agents.add(self.headers.get("User-Agent", ""))
            path = urllib.parse.unquote(self.path)
            page = pages.get(path) or pages.get(path.partition("?")[0]) or Page(b"nothing here", 404)
            if page.token is not None and self.headers.get("Authorization") != f"Bearer {page.token}":
                page = Page(b"gated", 401, {"X-Error-Code": "GatedRepo"})
            self.answer(page)

        do_HEAD = do_GET  # noqa: N815

        def answer(self, page: Page) -> None:
            status, body, headers = page.status, page.body, dict(page.headers)
            page.requests += 1
            if page.fails_after is not None and page.requests > page.fails_after:
                status, body = 503, b""
            if page.location:
                status, body, headers["Location"] = 302, b"", page.location
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if status == 200 and page.ranges and wanted:
                status, body, headers["Content-Range"] = 206, *part(body, wanted[1], wanted[2])
            self.send_response(status)
            dated = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "ETag": '"one"'}
            for name, value in {"Content-Length": str(len(body)), **dated, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                with contextlib.suppress(ConnectionError):
                    self.send(page, body)

        def send(self, page: Page, body: bytes) -> None:
            if len(body) > 1000:
                page.answers += 1
                if page.answers <= page.cuts:
                    self.wfile.write(body[: len(body) // 2])
                    self.close_connection = True
                    return
                if page.drips_after is not None and page.answers > page.drips_after:
                    for place in range(len(body)):
                        self.wfile.write(body[place : place + 1])
                        time.sleep(0.1)
            standin.sent += len(body)
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    standin = StandIn(f"http://{host}:{server.server_address[1]}", pages, asked)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def part(body: bytes, start: str, end: str) -> tuple[bytes, str]:
    """The bytes of a range request, and what Content-Range says of them."""
    size = len(body)
    low = int(start) if start else max(0, size - int(end))
    high = min(int(end) + 1, size) if start and end else size
    return body[low:high], f"bytes {low}-{high - 1}/{size}"
