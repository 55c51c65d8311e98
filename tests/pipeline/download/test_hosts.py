"""A host that has no turn to give holds no thread that another host's picture could be fetched by."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from downloads import chosen, fingerprints, ready_run
from PIL import Image

from visunex.net.rate_limit import HostLimits, HostOrder
from visunex.pipeline.download.stage import download

LINKS = 12  # of each host


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 40), (number, 255 - number, 7 * number % 256)).save(buffer, "JPEG")
    return buffer.getvalue()


class Two:
    """Two servers: the slow one answers once all of the fast one was asked for; `asked` is the order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.all_fast, self.most_at_once, self.at_once = threading.Event(), 0, 0
        self.lock = threading.Lock()
        self.servers = {
            name: ThreadingHTTPServer(("127.0.0.1", 0), self.handler(name)) for name in ("slow", "fast")
        }
        for server in self.servers.values():
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, name: str, row: int) -> str:
        return f"http://127.0.0.1:{self.servers[name].server_port}/{row}.jpg"

    def handler(self, name: str) -> type[BaseHTTPRequestHandler]:
        two = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                two.note(name)
                if name == "slow":
                    two.all_fast.wait(10)
                body = picture(int(self.path[1:-4]) + 100 * (name == "fast"))
                with two.lock:
                    two.at_once -= name == "slow"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silent."""

        return Handler

    def note(self, name: str) -> None:
        with self.lock:
            self.asked.append(name)
            self.at_once += name == "slow"
            self.most_at_once = max(self.most_at_once, self.at_once)
            if self.asked.count("fast") == LINKS:
                self.all_fast.set()


@pytest.fixture
def two() -> Iterator[Two]:
    running = Two()
    yield running
    for server in running.servers.values():
        server.shutdown()
        server.server_close()


def test_a_slow_hosts_links_hold_up_no_other_hosts(two: Two, tmp_path: Path) -> None:
    """Its links come first, and more of them than there are threads; the shards have the same bytes."""
    urls = [two.url("slow", row) for row in range(LINKS)] + [two.url("fast", row) for row in range(LINKS)]
    settings = {"shard_size": 100, "threads": 4, "deadline": 20.0, "dedupe_images": "none"}
    run, recipe = ready_run(tmp_path / "run", urls, 2 * LINKS, host_connections=2, **settings)
    assert download(run, recipe).chosen == 2 * LINKS
    before = two.asked[: LINKS + 2]
    assert (before.count("slow"), before.count("fast")) == (2, LINKS)
    assert two.most_at_once == 2
    assert chosen(run) == urls
    other, recipe = ready_run(tmp_path / "other", urls, 2 * LINKS, host_connections=32, **settings)
    download(other, recipe)
    assert fingerprints(run) == fingerprints(other)


def test_what_is_next_is_the_first_whose_host_has_a_turn() -> None:
    order = HostOrder(HostLimits(2, None), ["a", "a", "a", None, "b", "a", "b", "b"], lambda: 100)
    assert [order.take() for _ in range(5)] == [0, 1, 3, 4, 6]
    order.done(1)
    assert order.take() == 2
    order.done(4)
    assert order.take() == 7
    order.done(0)
    assert order.take() == 5
    with pytest.raises(LookupError):
        order.take()


def test_a_host_with_a_rate_gives_one_turn_at_a_time_and_what_is_not_wanted_waits_for_none() -> None:
    order = HostOrder(HostLimits(9, 0.001), ["a", "a", "b", "a", "a"], lambda: 3)
    assert [order.take() for _ in range(4)] == [0, 2, 4, 3]  # the last two are not wanted
    assert not order.is_idle
    waiting = threading.Thread(target=order.take, daemon=True)
    waiting.start()
    while not order.is_idle:
        waiting.join(0.01)
    assert waiting.is_alive()
