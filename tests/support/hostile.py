"""A hostile web server: raw sockets on the loopback, one misbehaviour per path.

`/NAME/ANYTHING` misbehaves as `BEHAVIOURS[NAME]` does. Every behaviour is a function of the open connection
and the request; `EXPECTED` says what class of failure (None: a picture) it must come to.
"""

import contextlib
import functools
import gzip
import io
import random
import socket
import socketserver
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import brotli
from backports import zstd
from PIL import Image

CERTIFICATE = Path(__file__).with_name("hostile.pem")  # self-signed, for localhost, made for these tests only


@dataclass(frozen=True)
class Request:
    """What a client asked for: the path's first part (`name`), the path, the headers in lower case."""

    name: str
    path: str
    headers: dict[str, str]
    visits: int


def picture(text: str = "", size: int = 48, kind: str = "JPEG") -> bytes:
    """A small picture; another text is another picture, also after decoding."""
    rng = random.Random(text)
    image = Image.frombytes("RGB", (8, 8), rng.randbytes(192)).resize((size, size), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def response(body: bytes, *headers: str, status: str = "200 OK", length: int | str | None = -1) -> bytes:
    """The bytes of a whole response; `length` -1 is the right Content-Length, None is none at all."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length == -1 else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


Behaviour = Callable[[socket.socket, Request], None]
BEHAVIOURS: dict[str, Behaviour] = {}
EXPECTED: dict[str, str | None] = {}


def behaviour(expected: str | None, name: str = "") -> Callable[[Behaviour], Behaviour]:
    def register(function: Behaviour) -> Behaviour:
        key = name or function.__name__.replace("_", "-")
        BEHAVIOURS[key], EXPECTED[key] = function, expected
        return function

    return register


def answers(name: str, expected: str | None, make: Callable[[Request], bytes]) -> None:
    """A behaviour that is one response."""
    behaviour(expected, name)(lambda connection, request: connection.sendall(make(request)))


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(connection: socket.socket, data: bytes, pause: float = 1.0) -> None:
    """One byte a second."""
    for byte in data:
        connection.sendall(bytes([byte]))
        time.sleep(pause)


def chunked(body: bytes, size: int = 1000) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@functools.cache
def animation(frames: int) -> bytes:
    images = [Image.new("L", (32, 32), frame % 256) for frame in range(frames)]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


# What is fine, in unusual ways.
answers("good", None, lambda request: response(picture(request.path)))
answers("good-png", None, lambda request: response(picture(request.path, kind="PNG")))
answers("good-webp", None, lambda request: response(picture(request.path, kind="WEBP")))
answers("wrong-type", None, lambda request: response(picture(request.path), "Content-Type: text/html"))
answers("no-length", None, lambda request: response(picture(request.path), "Connection: close", length=None))
answers(
    "negative-length", None, lambda request: response(picture(request.path), "Connection: close", length=-5)
)
answers(
    "chunked", None, lambda r: response(chunked(picture(r.path)), "Transfer-Encoding: chunked", length=None)
)
answers("gzipped", None, lambda r: response(gzip.compress(picture(r.path)), "Content-Encoding: gzip"))
answers("gif-1000", None, lambda request: response(animation(1000)))
answers("redirect", None, lambda r: response(b"", f"Location: /good{r.path}", status="302 Found"))
answers("robots-other", None, lambda r: response(picture(r.path), "X-Robots-Tag: otherbot: noai"))
answers("robots-fine", None, lambda r: response(picture(r.path), "X-Robots-Tag: nofollow, all"))
answers("tdm-free", None, lambda r: response(picture(r.path), "tdm-reservation: 0"))
answers("203", None, lambda r: response(picture(r.path), status="203 Non-Authoritative Information"))
answers("brotli", None, lambda r: response(brotli.compress(picture(r.path)), "Content-Encoding: br"))
answers("zstd", None, lambda r: response(zstd.compress(picture(r.path)), "Content-Encoding: zstd"))
answers("not-packed", None, lambda r: response(picture(r.path), "Content-Encoding: UTF-8"))
answers("150-headers", None, lambda r: response(picture(r.path), *(f"X-{n}: {n}" for n in range(150))))
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
answers("interim", None, lambda r: INTERIM + b"HTTP/1.1 102 Processing\r\n\r\n" + response(picture(r.path)))
answers("interim-for-ever", "bad_response", lambda _: INTERIM * 1000)
UTF8 = "Location: /utf8/\u00e4\u65e5.jpg".encode().decode("latin-1")
answers("redirect-utf8", None, lambda _: response(b"", UTF8, status="302 Found"))
answers(
    "utf8",
    "http_404",
    lambda r: response(picture(), status="200 OK" if "/%C3%A4%E6%97%A5.jpg" in r.path else "404"),
)
answers(
    "redirect-escaped", None, lambda _: response(b"", "Location: /escaped/a?b=1&amp;c=2", status="302 Found")
)
answers(
    "escaped", None, lambda r: response(picture(r.path), status="403 Bad" if "&amp;" in r.path else "200 OK")
)


@behaviour(None)
def slow_but_fine(connection: socket.socket, request: Request) -> None:
    time.sleep(0.5)
    connection.sendall(response(picture(request.path)))


@behaviour(None)
def busy_twice(connection: socket.socket, request: Request) -> None:
    busy = response(b"", status="503 Service Unavailable")
    connection.sendall(busy if request.visits <= 2 else response(picture(request.path)))


@behaviour(None)
def busy_says_when(connection: socket.socket, request: Request) -> None:
    busy = response(b"", "Retry-After: 1", status="429 Too Many Requests")
    connection.sendall(busy if request.visits <= 1 else response(picture(request.path)))


@behaviour(None)
def reset_once(connection: socket.socket, request: Request) -> None:
    if request.visits <= 1:
        reset(connection)
    else:
        connection.sendall(response(picture(request.path)))


OPEN = threading.Event()  # whether the site behind `closed-for-now` works


@behaviour("http_503")
def closed_for_now(connection: socket.socket, request: Request) -> None:
    closed = response(b"", status="503 Service Unavailable")
    connection.sendall(response(picture(request.path)) if OPEN.is_set() else closed)


# Statuses.
for status in (
    "204 No Content",
    "400 Bad Request",
    "401 Unauthorized",
    "403 Forbidden",
    "404 Not Found",
    "410 Gone",
):
    answers(status[:3], f"http_{status[:3]}", lambda _, status=status: response(b"", status=status))
answers("500", "http_500", lambda _: response(b"", status="500 Internal Server Error"))
answers("304", "http_304", lambda _: response(b"", status="304 Not Modified", length=None))
answers("429-for-long", "http_429", lambda _: response(b"", "Retry-After: 3600", status="429 Slow Down"))
answers("999", "http_999", lambda _: response(b"", status="999 Request denied"))


@behaviour("http_403", "403-by-agent")
def forbidden_by_agent(connection: socket.socket, request: Request) -> None:
    honest = "visunex" in request.headers.get("user-agent", "").lower()
    connection.sendall(response(b"", status="403 Forbidden") if honest else response(picture(request.path)))


# Hanging up and hanging.
CUT = chunked(b"x" * 3000).removesuffix(b"0\r\n\r\n")  # hung up between two chunks
answers("cut-chunks", "truncated", lambda _: response(CUT, "Transfer-Encoding: chunked", length=None))


@behaviour(None)
def cut_chunks_once(connection: socket.socket, request: Request) -> None:
    body = CUT if request.visits <= 1 else chunked(picture(request.path))
    connection.sendall(response(body, "Transfer-Encoding: chunked", length=None))


@behaviour("reset")
def reset_at_once(connection: socket.socket, request: Request) -> None:
    reset(connection)


@behaviour("reset")
def close_at_once(connection: socket.socket, request: Request) -> None:
    connection.close()


@behaviour("reset")
def reset_in_headers(connection: socket.socket, request: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Ty")
    time.sleep(0.05)
    reset(connection)


@behaviour("reset")
def reset_in_body(connection: socket.socket, request: Request) -> None:
    body = picture(request.path)
    connection.sendall(response(body[: len(body) // 2], length=len(body)))
    time.sleep(0.05)
    reset(connection)


@behaviour("timeout")
def hang(connection: socket.socket, request: Request) -> None:
    time.sleep(60)


@behaviour("timeout")
def hang_in_body(connection: socket.socket, request: Request) -> None:
    connection.sendall(response(picture(request.path)[:100], length=5000))
    time.sleep(60)


@behaviour("timeout")
def drip_headers(connection: socket.socket, request: Request) -> None:
    drip(connection, response(picture(request.path)))


@behaviour("timeout")
def drip_body(connection: socket.socket, request: Request) -> None:
    connection.sendall(response(b"", length=5000))
    drip(connection, picture(request.path))


@behaviour("http_206")
def drip_range(connection: socket.socket, request: Request) -> None:
    """For those who ask for a range; to others a part of the picture is none."""
    part = response(b"", "Content-Range: bytes 0-4999/9000", status="206 Partial Content", length=5000)
    connection.sendall(part)
    drip(connection, picture(request.path))


@behaviour("timeout")
def drip_chunks(connection: socket.socket, request: Request) -> None:
    connection.sendall(response(b"", "Transfer-Encoding: chunked", length=None))
    drip(connection, chunked(picture(request.path), 1))


@behaviour("timeout")
def continue_for_ever(connection: socket.socket, request: Request) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.2)


# Too much.
@behaviour("too_large")
def endless_body(connection: socket.socket, request: Request) -> None:
    connection.sendall(response(b"", length=None))
    while True:
        connection.sendall(b"\xff" * 65536)


@behaviour("too_large")
def endless_chunks(connection: socket.socket, request: Request) -> None:
    connection.sendall(response(b"", "Transfer-Encoding: chunked", length=None))
    while True:
        connection.sendall(b"10000\r\n" + b"\xff" * 65536 + b"\r\n")


@behaviour("bad_response")
def endless_header(connection: socket.socket, request: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        connection.sendall(b"a" * 65536)


@behaviour("bad_response")
def endless_headers(connection: socket.socket, request: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: of them\r\n" * 1000)


@behaviour("bad_response")
def endless_chunk_size(connection: socket.socket, request: Request) -> None:
    connection.sendall(response(b"", "Transfer-Encoding: chunked", length=None))
    while True:
        connection.sendall(b"0" * 65536)


@behaviour("too_large")
def endless_gzip(connection: socket.socket, request: Request) -> None:
    """Zeros for ever: behind the first, every further block is the same."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, again = (packer.compress(b"\0" * 2**18) + packer.flush(zlib.Z_SYNC_FLUSH) for _ in range(2))
    connection.sendall(response(b"", "Content-Encoding: gzip", "Connection: close", length=None) + first)
    while True:
        connection.sendall(again * 50)


answers("gzip-bomb", "too_large", lambda _: response(gzip_bomb(), "Content-Encoding: gzip"))
answers("brotli-bomb", "too_large", lambda _: response(brotli_bomb(), "Content-Encoding: br"))
answers("zstd-bomb", "too_large", lambda _: response(zstd_bomb(), "Content-Encoding: zstd"))
answers("length-10-gb", "too_large", lambda request: response(picture(request.path), length=10 * 2**30))
answers("png-bomb", "too_many_pixels", lambda _: response(png_header(30000, 30000)))
answers("png-huge", "too_many_pixels", lambda _: response(png_header(2**31 - 1, 2**31 - 1)))


@functools.cache
def gzip_bomb() -> bytes:
    """64 MiB in 64 KiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b"\0" * 2**24) for _ in range(4)) + packer.flush()


@functools.cache
def brotli_bomb() -> bytes:
    """64 MiB in a few bytes."""
    return brotli.compress(bytes(2**26), quality=5)


@functools.cache
def zstd_bomb() -> bytes:
    """64 MiB in a few KiB."""
    return zstd.compress(bytes(2**26))


# Nonsense.
answers("packed-oddly", "bad_encoding", lambda r: response(picture(r.path), "Content-Encoding: x-compress"))
answers("bad-brotli", "bad_encoding", lambda r: response(picture(r.path), "Content-Encoding: br"))
answers("bad-zstd", "bad_encoding", lambda r: response(picture(r.path), "Content-Encoding: zstd"))
answers(
    "length-too-long", "truncated", lambda r: response(picture(r.path), "Connection: close", length=10**5)
)
answers("length-too-short", "truncated", lambda r: response(picture(r.path), length=300))
answers("length-twice", "bad_response", lambda r: response(picture(r.path), "Content-Length: 7"))
answers("http-0.9", "bad_response", lambda _: b"<html>hello</html>")
answers("garbage", "bad_response", lambda request: random.Random(request.path).randbytes(5000))
answers("bad-status", "bad_response", lambda _: b"HTTP/1.1 abc Fine\r\n\r\n")
answers(
    "bad-chunks", "bad_response", lambda r: response(b"zz\r\nabc", "Transfer-Encoding: chunked", length=None)
)
answers("bad-gzip", "bad_encoding", lambda r: response(picture(r.path), "Content-Encoding: gzip"))
answers("empty", "empty", lambda _: response(b""))

# Redirects.
answers(
    "redirect-for-ever",
    "too_many_redirects",
    lambda r: response(b"", f"Location: {r.path}x", status="301 Moved"),
)
answers(
    "redirect-to-file",
    "bad_scheme",
    lambda _: response(b"", "Location: file:///etc/passwd", status="302 Found"),
)
answers(
    "redirect-to-ftp",
    "bad_scheme",
    lambda _: response(b"", "Location: ftp://127.0.0.1/a.jpg", status="302 Found"),
)
answers(
    "redirect-to-data",
    "bad_scheme",
    lambda _: response(b"", "Location: data:image/png,abc", status="302 Found"),
)
answers(
    "redirect-to-metadata",
    "private_address",
    lambda _: response(
        b"", "Location: http://169.254.169.254/latest/meta-data/", status="307 Temporary Redirect"
    ),
)
answers(
    "redirect-to-nothing", "bad_url", lambda _: response(b"", "Location: http://[bad/", status="302 Found")
)
answers("redirect-nowhere", "http_302", lambda _: response(b"", status="302 Found"))

# Forbidden by its owner.
for tag in ("noai", "noimageai", "noindex", "NoImageIndex", "all, noai", "visunex: noai"):
    answers(
        f"robots-{tag.replace(' ', '').replace(',', '-').replace(':', '-').lower()}",
        "robots_tag",
        lambda r, tag=tag: response(picture(r.path), f"X-Robots-Tag: {tag}"),
    )

answers("tdm-reserved", "robots_tag", lambda r: response(picture(r.path), "TDM-Reservation: 1"))
answers(
    "robots-twice",
    "robots_tag",
    lambda r: response(picture(r.path), "X-Robots-Tag: otherbot: all\r\nX-Robots-Tag: max-snippet: 5, noml"),
)

# Not the picture.
answers("html", "not_an_image", lambda _: response(b"<!doctype html><p>gone</p>", "Content-Type: text/html"))
answers("html-as-jpeg", "not_an_image", lambda _: response(b"<html>gone</html>", "Content-Type: image/jpeg"))
answers(
    "svg",
    "not_an_image",
    lambda _: response(b'<?xml version="1.0"?><svg xmlns="x"></svg>', "Content-Type: image/svg+xml"),
)
answers("text", "not_an_image", lambda _: response(b"not a picture at all"))
answers("cut-jpeg", "truncated", lambda r: response(picture(r.path)[:-400]))
answers("cut-png", "truncated", lambda r: response(picture(r.path, kind="PNG")[:-400]))
answers("cut-webp", "truncated", lambda r: response(picture(r.path, kind="WEBP")[:-40]))
answers("bent-png", "damaged", lambda r: response(bent(picture(r.path, kind="PNG"))))
answers("placeholder", None, lambda _: response(picture("the same for all")))


def bent(data: bytes) -> bytes:
    """Data with one byte wrong in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


class Handler(socketserver.BaseRequestHandler):
    """Read one request head after the other; misbehave as its path says."""

    server: "HostileServer"

    def handle(self) -> None:
        """One connection."""
        with contextlib.suppress(OSError):
            reader = self.request.makefile("rb")
            while request := self.server.read(reader):
                self.server.pause(request)
                BEHAVIOURS[request.name](self.request, request)
                if request.name not in KEPT_OPEN:
                    break


KEPT_OPEN = {"good", "good-png", "good-webp", "chunked", "404", "redirect", "placeholder"}


class HostileServer(socketserver.ThreadingTCPServer):
    """`/NAME/...` misbehaves. `shuffle` adds up to that many seconds, at random, to each answer."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(
        self, host: str = "127.0.0.1", *, tls: bool = False, shuffle: float = 0.0, seed: int = 0
    ) -> None:
        self.tls, self.shuffle, self.rng = tls, shuffle, random.Random(seed)
        self.visits: Counter[str] = Counter()
        self.connections = self.open_now = self.most_open = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if tls:
            self._context.load_cert_chain(CERTIFICATE)
        super().__init__((host, 0), Handler)

    @property
    def base(self) -> str:
        """The base of its URLs."""
        return f"http{'s' if self.tls else ''}://{self.server_address[0]}:{self.server_address[1]}"

    def read(self, reader: io.BufferedReader) -> Request | None:
        """The next request on a connection."""
        start = reader.readline().decode("latin-1").split()
        headers = {}
        while line := reader.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if len(start) < 2:
            return None
        name = start[1].split("/")[1]
        with self._lock:
            self.visits[start[1]] += 1
            return Request(name if name in BEHAVIOURS else "404", start[1], headers, self.visits[start[1]])

    def pause(self, request: Request) -> None:
        """Let answers come in another order."""
        if self.shuffle:
            with self._lock:
                seconds = self.rng.random() * self.shuffle
            time.sleep(seconds)

    def finish_request(self, request: socket.socket, client_address: object) -> None:
        """Wrap the connection in TLS, in its own thread."""
        if self.tls:
            request.settimeout(5)
            request = self._context.wrap_socket(request, server_side=True)
            request.settimeout(None)
        with self._lock:
            self.connections += 1
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._lock:
                self.open_now -= 1
                self._open.discard(request)
            if self.tls:
                request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, or refuse our certificate, are no fault."""

    def close(self) -> None:
        """Hang up on everyone."""
        self.shutdown()
        self.server_close()
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def hostile(**settings: object) -> Iterator[HostileServer]:
    """A running hostile server, with the site that is closed for now closed."""
    OPEN.clear()  # another test may have opened it
    gzip_bomb(), brotli_bomb(), zstd_bomb(), animation(1000)  # made before anybody waits for them
    server = HostileServer(**settings)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


@contextlib.contextmanager
def silent_port(data: bytes = b"") -> Iterator[int]:
    """A port where connections are accepted and get `data`, a byte a second, and nothing else."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []
    stop = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                for byte in data:
                    connection.sendall(bytes([byte]))
                    if stop.wait(1):
                        return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in accepted:
            connection.close()
        thread.join(5)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections for the length of the block: bound, and not listened on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
