"""A Ray cluster of several nodes on this machine, and a host with pictures that it fetches.

`ray.cluster_utils.Cluster`, by which several nodes stand on one machine, is Ray's own and may change: it is
asked for `add_node`, `remove_node`, `address` and `shutdown`.
"""

import contextlib
import io
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

_PROGRAM = """import sys
from ray.cluster_utils import Cluster
small = {"object_store_memory": 80 << 20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
print("cluster at", cluster.address, flush=True)
for line in sys.stdin:
    if line.startswith("add"):
        nodes.append(cluster.add_node(num_cpus=1, **small))
    else:
        cluster.remove_node(nodes.pop(int(line)), allow_graceful=False)
    print("done", flush=True)
cluster.shutdown()"""


class Nodes:
    """A cluster of a head and two nodes of one core, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
        self.address = self._line("cluster at ")

    def _line(self, begin: str) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith(begin):
                return line.removeprefix(begin).strip()
        raise AssertionError("the cluster ended")

    def _ask(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        self._line("done")

    def lose(self, place: int = 0) -> None:
        """Kill all processes of a node."""
        self._ask(str(place))

    def add(self) -> None:
        """Have one more node."""
        self._ask("add")

    def stop(self) -> None:
        """End the cluster."""
        self._process.communicate("")


@contextmanager
def cluster() -> Iterator[Nodes]:
    """A cluster that ends with the block."""
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.stop()


class PictureHost(ThreadingHTTPServer):
    """A host with a picture at each number that is not `dead`; it counts what is asked for, and at a time."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self, latency: float = 0.0, dead: Callable[[int], bool] = lambda _: False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.latency, self.dead = latency, dead
        self.counting, self.open, self.most, self.asked = threading.Lock(), 0, 0, 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asks may be killed meanwhile."""


@contextmanager
def picture_host(
    latency: float = 0.0, dead: Callable[[int], bool] = lambda _: False
) -> Iterator[PictureHost]:
    """A host that serves during the block."""
    with PictureHost(latency, dead) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PictureHost

    def do_GET(self) -> None:
        with self.server.counting:
            self.server.open, self.server.asked = self.server.open + 1, self.server.asked + 1
            self.server.most = max(self.server.most, self.server.open)
        time.sleep(self.server.latency)
        number = int(self.path.strip("/"))
        is_dead = self.server.dead(number)
        data = b"" if is_dead else picture(number)
        with self.server.counting:
            self.server.open -= 1
        with contextlib.suppress(ConnectionError):
            self.send_response(404 if is_dead else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def picture(number: int) -> bytes:
    """A small JPEG that no other number has."""
    data, drawn = io.BytesIO(), random.Random(number).randbytes(48)
    Image.frombytes("RGB", (4, 4), drawn).resize((64, 64)).save(data, "jpeg")
    return data.getvalue()
