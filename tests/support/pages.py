"""A web server on this machine with a test's pages; it answers ranges and counts what it sends."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Pages(str):
    """The address of the server, which also knows what was asked of it."""

    sent: list[tuple[str, int]]

    @property
    def bytes_sent(self) -> int:
        return sum(size for _, size in self.sent)


@contextlib.contextmanager
def served(pages: Mapping[str, bytes | Path]) -> Iterator[Pages]:
    """Serve `pages` (path -> body, or the file that holds it) for the length of the block."""
    sent: list[tuple[str, int]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a body must not wait for the acknowledgement of its headers

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            page = pages.get(self.path)
            if page is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            size = len(page) if isinstance(page, bytes) else page.stat().st_size
            begin, end = self._range(size)
            self.send_response(200 if (begin, end) == (0, size) and "Range" not in self.headers else 206)
            self.send_header("Accept-Ranges", "bytes")
            if isinstance(page, Path):
                self.send_header("ETag", f'"{page.stat().st_mtime_ns}"')
            self.send_header("Content-Length", str(end - begin))
            if "Range" in self.headers:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
            self.end_headers()
            if body:
                sent.append((self.path, end - begin))
                self.wfile.write(self._read(page, begin, end))

        def _range(self, size: int) -> tuple[int, int]:
            text = self.headers.get("Range", "")
            if not text.startswith("bytes="):
                return 0, size
            first, _, last = text.removeprefix("bytes=").partition("-")
            if not first:
                return max(0, size - int(last)), size
            return int(first), min(size, int(last) + 1) if last else size

        def _read(self, page: bytes | Path, begin: int, end: int) -> bytes:
            if isinstance(page, bytes):
                return page[begin:end]
            with page.open("rb") as file:
                file.seek(begin)
                return file.read(end - begin)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    address = Pages(f"http://127.0.0.1:{server.server_port}")
    address.sent = sent
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
