"""A proxy on this machine that makes tunnels, as https asks of one."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Tunnels:
    """The proxy's address, and the heads of what it was asked."""

    address: str
    asked: list[str]


class _Handler(socketserver.BaseRequestHandler):
    server: "_Proxy"

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n") and (data := self.request.recv(1)):
            head += data
        self.server.asked.append(head.decode())
        try:
            port = int(head.split()[1].rpartition(b":")[2])
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            self.request.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with server:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass_on, args=(server, self.request))
            back.start()
            _pass_on(self.request, server)
            back.join()


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, asked: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = asked


@contextlib.contextmanager
def tunnelling() -> Iterator[Tunnels]:
    """A running proxy: CONNECT NAME:PORT leads to that port of this machine, whatever the name."""
    asked: list[str] = []
    with _Proxy(asked) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        yield Tunnels(f"http://127.0.0.1:{proxy.server_address[1]}", asked)
        proxy.shutdown()
        thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
