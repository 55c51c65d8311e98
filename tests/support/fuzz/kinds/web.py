"""Answers of servers, as bytes on a socket: pictures, ranges, listings, small questions."""

import functools
import gzip
import json
import os
import socket
import socketserver
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import brotli
from backports import zstd
from hostile import chunked, response
from shard_files import JPEG

from ..loader import Seed, loader

_SECONDS = 0.4  # of patience, where an answer stops


class _Handler(socketserver.StreamRequestHandler):
    """Sends the bytes at hand to whoever asks, and lets some connections be kept."""

    def handle(self) -> None:
        self.request.settimeout(_SECONDS)
        try:
            while (line := self.rfile.readline(70_000)) not in (b"", b"\r\n"):
                pass
            if line:
                self.wfile.write(self.server.answer)  # type: ignore[attr-defined]
                self.request.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 128
    answer = b""

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is none."""


@functools.cache
def _server() -> _Server:
    """Serves for as long as the process lives; no other host is known by name or number."""
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    real = socket.getaddrinfo

    def only_here(host: Any, *rest: Any, **more: Any) -> Any:
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        return real(host, *rest, **more)

    socket.getaddrinfo = only_here
    return server


def _answers(body: bytes) -> Iterable[bytes]:
    yield response(body, "Content-Type: image/jpeg", 'ETag: "a"', "X-Robots-Tag: noindex, otherbot: noai")
    yield response(chunked(body), "Transfer-Encoding: chunked", length=None)
    yield response(chunked(body)[:-2] + b"Trailer: 1\r\n\r\n", "Transfer-Encoding: chunked", length=None)
    yield response(body, length=None)
    yield response(gzip.compress(body, mtime=0), "Content-Encoding: gzip")
    yield response(zlib.compress(body), "Content-Encoding: deflate")
    yield response(brotli.compress(body), "Content-Encoding: br")
    yield response(zstd.compress(body), "Content-Encoding: zstd, gzip")
    yield response(
        chunked(gzip.compress(body, mtime=0)),
        "Transfer-Encoding: chunked",
        "Content-Encoding: gzip",
        length=None,
    )
    yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(body)
    yield response(b"", "Location: /again?a=1&amp;b=2", status="302 Found")
    yield response(b"", "Location: http://127.0.0.1:80/x", status="307 Temporary Redirect")
    yield response(b"gone", "Retry-After: 1", status="404 Not Found")
    yield response(body, f"Content-Range: bytes 0-{len(body) - 1}/{len(body)}", status="206 Partial Content")


def _pictures(_: Path) -> Iterable[Seed]:
    _server()
    for each in _answers(JPEG):
        yield Seed("answer", each, form="text")


@functools.cache
def _fetcher() -> Any:
    from visunex.net.fetcher import Fetcher, FetchSettings

    return Fetcher(FetchSettings(deadline=_SECONDS, retries=0, allow_private=True, max_bytes=2**20))


@loader("HTTP picture", _pictures, share=0.5)
def _picture(path: Path) -> None:
    from visunex.net.errors import FetchError

    server = _server()
    server.answer = path.read_bytes()
    found = _fetcher().fetch(f"http://127.0.0.1:{server.server_address[1]}/a?x=1&amp;y=2")
    if found.body is None:
        assert found.error
        assert found.message
        raise FetchError(found.error, found.described)


def _files(_: Path) -> Iterable[Seed]:
    _server()
    body = b"0123456789" * 50
    for each in _answers(body):
        yield Seed("answer", each, form="text")


@loader("HTTP file", _files, share=0.5)
def _file(path: Path) -> None:
    from visunex.net import probe, range_file, stream
    from visunex.net.client import ClientSettings
    from visunex.net.errors import FetchError

    server = _server()
    server.answer = path.read_bytes()
    url = f"http://127.0.0.1:{server.server_address[1]}/a"
    _hasten(range_file, stream, probe)
    failures = []
    for read in (
        lambda: probe.refusal(probe.get(url, most=99)),
        lambda: probe.get_bytes(url, most=999, seconds=_SECONDS),
        lambda: _ranges(range_file.RemoteFile(url, range_file.Web({}))),
        lambda: _all_of(stream.opened_stream(url, ClientSettings())),
    ):
        try:
            read()
        except FetchError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _hasten(range_file: Any, stream: Any, probe: Any) -> None:
    """No pauses between tries, and little patience: thousands of answers are to be read."""
    range_file.PATIENCE = stream.PATIENCE = probe.SECONDS = _SECONDS
    range_file.pause_before = lambda tries, failure: 0.0 if failure.retryable and tries < 2 else None


def _ranges(file: Any) -> None:
    file.read(0, min(file.size, 100))
    for piece in file.pieces(0, min(file.size, 1000)):
        assert piece


def _all_of(opened: Any) -> None:
    with opened as file:
        read = 0
        while data := file.read(65536):
            read += len(data)
            assert read < 2**26


def _listings(_: Path) -> Iterable[Seed]:
    server = _server()
    entries = [
        {
            "type": "file",
            "path": "img_emb/img_emb_0.npy",
            "size": 99,
            "oid": "ab",
            "lfs": {"oid": "cd", "size": 99},
        },
        {"type": "directory", "path": "a", "oid": "ef"},
        {"type": "file", "path": "metadata/metadata_0.parquet", "size": 9, "oid": "ab"},
    ]
    link = f'Link: <http://127.0.0.1:{server.server_address[1]}/next>; rel="next"'
    for body in (json.dumps(entries).encode(), json.dumps({"sha": "abc"}).encode()):
        for headers in ((), (link,)):
            yield Seed("answer", body, functools.partial(_as_answer, headers), "json")
            yield Seed("answer", response(body, *headers), form="text")


def _as_answer(headers: tuple[str, ...], body: bytes) -> bytes:
    return response(body, *headers)


@loader("HTTP listing", _listings, share=0.5)
def _listing(path: Path) -> None:
    from visunex.net import hub, probe
    from visunex.net.errors import FetchError

    server = _server()
    server.answer = path.read_bytes()
    probe.SECONDS, hub._MOST_PAGES = _SECONDS, 3
    os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{server.server_address[1]}", HF_HUB_OFFLINE="0")
    try:
        hub.pinned(hub.data_set("hf://datasets/a/b"))
    except FetchError:
        list(hub.files(hub.data_set("hf://datasets/a/b")))


def _tags(_: Path) -> Iterable[Seed]:
    for text in (
        "noai, max-image-preview:large",
        "otherbot: noai, noimageai",
        "unavailable_after: 1 Jan 2020, none",
    ):
        yield Seed("tag.txt", text.encode())


@loader("X-Robots-Tag", _tags, share=0.5)
def _tag(path: Path) -> None:
    from visunex.net.errors import retry_after
    from visunex.net.robots import forbidden

    text = path.read_bytes().decode("latin-1")
    forbidden([text], [text])
    retry_after(text)
