"""nginx on the loopback, which serves a folder over https://; and what a plain client takes from it."""

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

RANGE = 4 << 20  # bytes of a request of the plain client
AT_ONCE = 8  # requests of it
_CONFIGURATION = """{user}daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  log_format bytes '$body_bytes_sent'; access_log {home}/access.log bytes; sendfile on; etag on;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
  uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{ listen 127.0.0.1:{port} ssl; root {folder}; ssl_certificate {home}/cert.pem;
    ssl_certificate_key {home}/key.pem; keepalive_requests 1000000; }}
}}"""


@dataclass(frozen=True)
class Nginx:
    """A server at `address`, whose `certificate` clients have to trust."""

    port: int
    home: Path

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.home / "cert.pem"

    def sent(self) -> int:
        """Bytes of all answers so far."""
        return sum(map(int, (self.home / "access.log").read_text(encoding="utf-8").split()))


@contextlib.contextmanager
def nginx(folder: Path, home: Path) -> Iterator[Nginx]:
    """Serve the files of a folder; `home` is for the server's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = Nginx(probe.getsockname()[1], home)
    home.mkdir()
    run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"],
        ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{home}/key.pem", "-out", f"{home}/cert.pem"],
    )
    configuration = home / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            user="user root; " * (os.geteuid() == 0), home=home, folder=folder, port=found.port
        ),
        encoding="utf-8",
    )
    server = subprocess.Popen(["nginx", "-c", str(configuration), "-e", f"{home}/error.log"])
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", found.port), 1):
                break
            time.sleep(0.05)
        yield found
    finally:
        server.terminate()
        server.wait()


def run(*parts: Sequence[str]) -> None:
    """Run a program whose words are `parts`, quietly."""
    words = [word for part in parts for word in part]
    subprocess.run(words, check=True, capture_output=True)


def plain_rate(server: Nginx, name: str, size: int) -> float:
    """Bytes a second that a client takes which does nothing with them, in ranges."""
    context = ssl.create_default_context(cafile=str(server.certificate))
    starts = list(range(0, size, RANGE))

    def take(begins: Sequence[int]) -> None:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
        room = bytearray(RANGE)
        for begin in begins:
            connection.request("GET", f"/{name}", headers={"Range": f"bytes={begin}-{begin + RANGE - 1}"})
            with connection.getresponse() as answer:
                while answer.readinto(room):
                    pass
        connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(take, [starts[first::AT_ONCE] for first in range(AT_ONCE)]))
    return size / (time.perf_counter() - began)
