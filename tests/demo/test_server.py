"""The demo world's server: the real web in small, on one port, gone at once when it is told to."""

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from visunex.base.errors import VisunexError
from visunex.demo.server import default_port, serve
from visunex.demo.world import Fate, World, placeholder

WORLD = World(rows=600)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve(0, WORLD) as base:
        yield base


def get(address: str, path: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def path_of(fate: Fate) -> str:
    return next(entry.path for entry in WORLD.entries if entry.fate == fate)


def test_pictures_are_served_with_their_type(address: str) -> None:
    for extension, kind in {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}.items():
        entry = next(e for e in WORLD.entries if e.fate == "fine" and e.extension == extension)
        status, body, headers = get(address, entry.path)
        assert (status, body, headers["Content-Type"]) == (200, entry.image_file(), kind)


@pytest.mark.parametrize(
    ("fate", "status"), [("missing", 404), ("forbidden", 403), ("html", 200), ("redirect", 302)]
)
def test_dead_links(address: str, fate: Fate, status: int) -> None:
    assert get(address, path_of(fate))[0] == status


def test_some_pages_are_no_pictures(address: str) -> None:
    assert get(address, path_of("html"))[1].startswith(b"<!doctype html>")
    assert get(address, path_of("placeholder"))[1] == placeholder()


def test_a_flaky_link_works_the_second_time(address: str) -> None:
    assert [get(address, path_of("flaky"))[0] for _ in range(3)] == [500, 200, 200]


def test_a_redirect_leads_to_the_picture(address: str) -> None:
    _, _, headers = get(address, path_of("redirect"))
    entry = next(e for e in WORLD.entries if e.fate == "redirect")
    assert get(address, headers["Location"])[1] == entry.image_file()


def test_a_truncated_body_ends_early(address: str) -> None:
    with pytest.raises(http.client.IncompleteRead):
        get(address, path_of("truncated"))


@pytest.mark.parametrize(
    "path", ["/", "/pictures/99999.jpg", "/pictures/00001.gif", "/pictures/x.jpg", "/../etc/passwd"]
)
def test_what_is_not_there(address: str, path: str) -> None:
    assert get(address, path)[0] == 404


def test_it_ends_at_once_with_sockets_hanging_on_it() -> None:
    with serve(0, WORLD) as address:
        host, port = address.removeprefix("http://").split(":")
        hanging = [socket.create_connection((host, int(port))) for _ in range(3)]
        for connection in hanging[:2]:
            connection.sendall(f"GET {path_of('hanging')} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        time.sleep(0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    for connection in hanging:
        connection.close()
    with pytest.raises(OSError, match="refused"):
        get(address, "/")


def test_its_port_can_be_taken_again_at_once() -> None:
    with serve(0, WORLD) as first:
        get(first, path_of("fine"))
    with serve(int(first.rpartition(":")[2]), WORLD) as second:
        assert second == first
        assert get(second, path_of("fine"))[0] == 200


def test_the_same_world_is_shared_and_another_is_not(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with serve(port, WORLD) as shared:
        assert shared == address
    assert get(address, path_of("fine"))[0] == 200, "the owner goes on"
    with (
        pytest.raises(VisunexError, match=r"another program has it; set \$VISUNEX_DEMO_PORT"),
        serve(port, World(rows=7)),
    ):
        pass


def test_a_shared_world_outlives_the_command_that_served_it() -> None:
    """Two demos side by side: the first to end must not take the other's pictures away."""
    owner = contextlib.ExitStack()
    address = owner.enter_context(serve(0, WORLD))
    with serve(int(address.rpartition(":")[2]), WORLD):
        owner.close()
        for _ in range(100):
            with contextlib.suppress(OSError):
                assert get(address, path_of("fine"))[0] == 200
                break
            time.sleep(0.05)
        else:
            pytest.fail("nobody serves the world any more")
    with pytest.raises(OSError, match="refused"):
        get(address, "/")


def test_a_port_of_another_program_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(VisunexError, match=f"port {port} of this machine: another program has it"),
            serve(port),
        ):
            pass


@pytest.mark.parametrize(("value", "port"), [(None, 8767), ("", 8767), ("9000", 9000)])
def test_the_default_port(monkeypatch: pytest.MonkeyPatch, value: str | None, port: int) -> None:
    monkeypatch.delenv("VISUNEX_DEMO_PORT", raising=False)
    if value is not None:
        monkeypatch.setenv("VISUNEX_DEMO_PORT", value)
    assert default_port() == port


@pytest.mark.parametrize("value", ["nonsense", "0", "70000", "-1"])
def test_a_port_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VISUNEX_DEMO_PORT", value)
    with pytest.raises(VisunexError, match=f"is '{value}'; it must be a port number"):
        default_port()
