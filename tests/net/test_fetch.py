"""The guarded fetch against a hostile server: every behaviour ends in its class, within its time."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hostile
import pytest

from visunex.images.errors import ImageError
from visunex.images.validate import Limits, inspect
from visunex.net import addresses
from visunex.net import client as client_module
from visunex.net.errors import is_retryable
from visunex.net.fetcher import Fetched, Fetcher, FetchSettings

DEADLINE = 4.0
GRACE = 1.0  # seconds beyond the deadline that a busy machine may take to notice it
MAX_BYTES = 2**21
ASKING_FOR_PATIENCE = {"429-for-long", "busy-says-when", "busy-twice"}
NOT_PUBLIC = (
    "127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fd00::1", "ff02::1",
    "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "2002:7f00:1::",
)  # fmt: skip


def settings(**changes: Any) -> FetchSettings:
    return FetchSettings(**{"deadline": DEADLINE, "max_bytes": MAX_BYTES, "allow_private": True, **changes})


def outcome(fetched: Fetched) -> str | None:
    """The class of the failure, of the fetch or of the check of the picture."""
    if fetched.body is None:
        return fetched.error
    try:
        inspect(fetched.body, Limits(max_pixels=10**7))
    except ImageError as error:
        return error.kind
    return None


@pytest.fixture(scope="module")
def server() -> Iterator[hostile.HostileServer]:
    with hostile.hostile() as running:
        yield running


@pytest.fixture(scope="module")
def secure() -> Iterator[hostile.HostileServer]:
    with hostile.hostile(tls=True) as running:
        yield running


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher(settings())
    yield made
    made.close()


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for a public server; every other loopback address stays private."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda ip: ip == "127.0.0.1" or real(ip))


def test_there_are_behaviours_enough() -> None:
    assert len(hostile.BEHAVIOURS) >= 30


def test_every_behaviour_comes_to_its_class_in_time(server: hostile.HostileServer) -> None:
    """All at once, as a worker's threads meet them; those that a busy machine delays are seen again alone.

    So are those for which the host is asked less often: they would hold up all others.
    """
    fetcher = Fetcher(settings(connections=64, host_connections=1000))
    numbers = itertools.count()

    def goes_as_expected(name: str, fetcher: Fetcher = fetcher) -> bool:
        began = time.monotonic()
        fetched = fetcher.fetch(f"{server.base}/{name}/{next(numbers)}.jpg")
        in_time = time.monotonic() - began < DEADLINE + GRACE
        return in_time and outcome(fetched) == hostile.EXPECTED[name]

    names = sorted(hostile.BEHAVIOURS.keys() - ASKING_FOR_PATIENCE) * 3
    with ThreadPoolExecutor(64) as pool:
        delayed = {
            name for name, well in zip(names, pool.map(goes_as_expected, names), strict=True) if not well
        }
    assert len(delayed) < len(hostile.BEHAVIOURS) / 3
    alone = delayed | ASKING_FOR_PATIENCE
    assert [name for name in alone if not goes_as_expected(name, Fetcher(settings()))] == []
    fetcher.close()


def test_a_message_begins_with_its_class(server: hostile.HostileServer, fetcher: Fetcher) -> None:
    fetched = fetcher.fetch(f"{server.base}/404/a.jpg")
    assert fetched.described == "http_404: the server answers with status 404"


@pytest.mark.parametrize("name", ["404", "410", "403", "html", "redirect-to-file", "too-large"])
def test_what_is_gone_is_asked_for_once(server: hostile.HostileServer, fetcher: Fetcher, name: str) -> None:
    assert fetcher.fetch(f"{server.base}/{name}/once.jpg").tries == 1


@pytest.mark.parametrize(
    ("name", "tries"),
    [("busy-twice", 3), ("reset-once", 2), ("cut-chunks-once", 2), ("500", 3), ("429-for-long", 1)],
)
def test_what_may_pass_is_tried_again(
    server: hostile.HostileServer, fetcher: Fetcher, name: str, tries: int
) -> None:
    assert fetcher.fetch(f"{server.base}/{name}/again.jpg").tries == tries


def test_a_link_from_a_page_s_source_is_tried_as_it_was_meant(
    server: hostile.HostileServer, fetcher: Fetcher
) -> None:
    assert fetcher.fetch(f"{server.base}/escaped/a.jpg?b=1&amp;c=2").body
    assert server.visits["/escaped/a.jpg?b=1&c=2"] == 1
    assert fetcher.fetch(f"{server.base}/404/a.jpg?b=1&amp;c=2").error == "http_404"
    assert fetcher.fetch(f"{server.base}/good/a.jpg?b=1&amp;c=2").body
    assert server.visits["/good/a.jpg?b=1&c=2"] == 0  # what works is left as it is


def test_retry_after_is_honoured(server: hostile.HostileServer, fetcher: Fetcher) -> None:
    began = time.monotonic()
    assert fetcher.fetch(f"{server.base}/busy-says-when/timed.jpg").body
    assert time.monotonic() - began >= 1


def test_retries_keep_to_the_deadline(server: hostile.HostileServer) -> None:
    began = time.monotonic()
    fetched = Fetcher(settings(retries=20, deadline=1.0)).fetch(f"{server.base}/500/patient.jpg")
    assert fetched.error == "http_500"
    assert time.monotonic() - began < 1 + GRACE


def test_no_connection(fetcher: Fetcher) -> None:
    with hostile.closed_port() as port:
        assert fetcher.fetch(f"http://127.0.0.1:{port}/a.jpg").error == "refused"


def test_a_name_that_does_not_resolve(fetcher: Fetcher) -> None:
    assert fetcher.fetch("http://a..b.example/a.jpg").error in ("dns", "bad_url")
    assert fetcher.fetch(f"http://{'a' * 64}.example/a.jpg").error in ("dns", "bad_url")


def test_a_name_service_that_is_silent_or_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = Fetcher(settings(deadline=1.0))

    def answer(host: str, *_: Any, **__: Any) -> Any:
        if host == "silent.example":
            time.sleep(2)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert fetcher.fetch("http://missing.example/a.jpg").described.startswith("dns: ")
    began = time.monotonic()
    assert fetcher.fetch("http://silent.example/a.jpg").error == "timeout"
    assert time.monotonic() - began < 1 + GRACE


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("", "bad_scheme"),
        ("/etc/passwd", "bad_scheme"),
        ("file:///etc/passwd", "bad_scheme"),
        ("ftp://127.0.0.1/a.jpg", "bad_scheme"),
        ("javascript:alert(1)", "bad_scheme"),
        ("http://", "bad_url"),
        ("http://[::1", "bad_url"),
        ("http://127.0.0.1:99999/a.jpg", "bad_url"),
        ("http://a b/c.jpg", "bad_url"),
        ("http://\x00/", "bad_url"),
        ("http://127.0.0.1:http/a.jpg", "bad_url"),
    ],
)
def test_what_is_no_web_address(fetcher: Fetcher, url: str, kind: str) -> None:
    fetched = fetcher.fetch(url)
    assert (fetched.error, fetched.tries) == (kind, 1)


@pytest.mark.parametrize(
    "path",
    ["/good/größe ü.jpg", "/good/a b.jpg", "/good/%zz.jpg", "/good/a.jpg?q=\u00e9#part", "/good/日本.png"],
)
def test_addresses_as_people_write_them(server: hostile.HostileServer, fetcher: Fetcher, path: str) -> None:
    assert fetcher.fetch(server.base + path).error is None


def test_nothing_that_is_passed_makes_it_raise(fetcher: Fetcher) -> None:
    for odd in (None, 7, b"http://127.0.0.1", "http://\ud800/", ["http://a"]):
        assert fetcher.fetch(odd).body is None  # type: ignore[arg-type]


class TestGuard:
    """Which addresses may be connected to."""

    @pytest.mark.parametrize("ip", NOT_PUBLIC)
    def test_these_are_not_public(self, ip: str) -> None:
        assert not addresses.is_public(ip)

    @pytest.mark.parametrize(
        "ip", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    )
    def test_these_are_public(self, ip: str) -> None:
        assert addresses.is_public(ip)
        assert not addresses.is_intranet(ip)

    @pytest.mark.parametrize(
        "ip", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::"]
    )
    def test_these_are_forbidden_even_where_private_ones_are_not(self, ip: str) -> None:
        assert not addresses.is_intranet(ip)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"]
    )
    def test_this_machine_is_refused_by_any_name(self, server: hostile.HostileServer, host: str) -> None:
        port = server.server_address[1]
        before = server.connections
        fetched = Fetcher(settings(allow_private=False)).fetch(f"http://{host}:{port}/good/a.jpg")
        assert fetched.error in ("private_address", "dns")
        assert server.connections == before

    @pytest.mark.usefixtures("loopback_is_public")
    def test_a_redirect_to_a_private_address_is_refused(self) -> None:
        with hostile.hostile() as public, hostile.hostile(host="127.0.0.2") as private:
            target = f"{private.base}/good/secret.jpg"
            hostile.answers(
                "to-private", None, lambda _: hostile.response(b"", f"Location: {target}", status="302 Found")
            )
            fetched = Fetcher(settings(allow_private=False)).fetch(f"{public.base}/to-private/a.jpg")
            del hostile.BEHAVIOURS["to-private"], hostile.EXPECTED["to-private"]
            assert fetched.error == "private_address"
            assert private.connections == 0

    @pytest.mark.usefixtures("loopback_is_public")
    def test_the_address_checked_is_the_address_connected_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """DNS rebinding: the name means a public server when it is checked, a private one ever after."""
        with hostile.hostile() as public, hostile.hostile(host="127.0.0.2") as private:
            answers = iter(["127.0.0.1"])

            def answer(*_: Any, **__: Any) -> Any:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.2"), 0))]

            monkeypatch.setattr(socket, "getaddrinfo", answer)
            port = public.server_address[1]
            fetched = Fetcher(settings(allow_private=False)).fetch(
                f"http://rebinding.example:{port}/good/a.jpg"
            )
            assert (fetched.error, public.connections, private.connections) == (None, 1, 0)

    @pytest.mark.usefixtures("loopback_is_public")
    def test_of_several_addresses_only_the_public_ones_are_used(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with hostile.hostile() as public:
            several = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ("127.0.0.2", "127.0.0.1")
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: several)
            url = f"http://several.example:{public.server_address[1]}/good/a.jpg"
            assert Fetcher(settings(allow_private=False)).fetch(url).error is None


class TestTLS:
    """Certificates are verified unless the user says otherwise."""

    def test_a_self_signed_certificate_is_refused(
        self, secure: hostile.HostileServer, fetcher: Fetcher
    ) -> None:
        fetched = fetcher.fetch(f"{secure.base}/good/a.jpg")
        assert fetched.described.startswith("tls_certificate: its certificate is not trusted: self-signed")

    def test_insecure_takes_it(self, secure: hostile.HostileServer) -> None:
        assert Fetcher(settings(insecure=True)).fetch(f"{secure.base}/good/a.jpg").error is None

    def test_a_trusted_certificate_is_taken(
        self, secure: hostile.HostileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(hostile.CERTIFICATE))
        url = f"https://localhost:{secure.server_address[1]}/good/a.jpg"
        assert Fetcher(settings()).fetch(url).error is None

    @pytest.mark.parametrize("name", ["drip-body", "hang", "drip-headers"])
    def test_the_deadline_holds(self, secure: hostile.HostileServer, name: str) -> None:
        began = time.monotonic()
        assert (
            Fetcher(settings(insecure=True, deadline=1.5)).fetch(f"{secure.base}/{name}/a.jpg").error
            == "timeout"
        )
        assert time.monotonic() - began < 1.5 + GRACE

    @pytest.mark.parametrize(
        "data", [b"", b"\x16\x03\x03\x40\x00" + b"\x02" * 100], ids=["silent", "one byte a second"]
    )
    def test_the_deadline_holds_in_the_handshake(self, data: bytes) -> None:
        with hostile.silent_port(data) as port:
            began = time.monotonic()
            fetched = Fetcher(settings(deadline=1.5)).fetch(f"https://127.0.0.1:{port}/a.jpg")
            assert fetched.error == "timeout"
            assert time.monotonic() - began < 1.5 + GRACE

    def test_plain_http_where_tls_is_expected(self) -> None:
        with hostile.silent_port(b"HTTP/1.1 200 OK\r\n") as port:
            fetched = Fetcher(settings(deadline=3.0)).fetch(f"https://127.0.0.1:{port}/a.jpg")
            assert fetched.error in ("tls", "timeout")


class TestPoliteness:
    """Who we say we are, and how hard we press one host."""

    def test_the_user_agent_is_honest(self, server: hostile.HostileServer) -> None:
        seen = []
        hostile.answers(
            "agent", None, lambda r: (seen.append(r.headers["user-agent"]), hostile.response(b"x"))[1]
        )
        Fetcher(settings(contact="me@example.org")).fetch(f"{server.base}/agent/a.jpg")
        del hostile.BEHAVIOURS["agent"], hostile.EXPECTED["agent"]
        assert "VisuNex" in seen[0]
        assert "me@example.org" in seen[0]

    def test_connections_are_kept(self) -> None:
        with hostile.hostile() as server:
            fetcher = Fetcher(settings())
            assert all(fetcher.fetch(f"{server.base}/good/{n}.jpg").body for n in range(10))
            assert server.connections == 1

    def test_a_host_gets_so_many_connections_and_no_more(self) -> None:
        with hostile.hostile(shuffle=0.05) as server:
            fetcher = Fetcher(settings(host_connections=3))
            with ThreadPoolExecutor(16) as pool:
                bodies = list(
                    pool.map(lambda n: fetcher.fetch(f"{server.base}/good/{n}.jpg").body, range(40))
                )
            assert all(bodies)
            assert server.most_open <= 3

    def test_a_host_is_asked_so_often_and_no_more(self, server: hostile.HostileServer) -> None:
        fetcher = Fetcher(settings(host_rate=10))
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: fetcher.fetch(f"{server.base}/good/{n}.jpg"), range(8)))
        assert time.monotonic() - began >= 0.7

    def test_waiting_for_a_turn_is_not_held_against_the_server(self, server: hostile.HostileServer) -> None:
        fetcher = Fetcher(settings(host_connections=1, deadline=1.2))
        with ThreadPoolExecutor(4) as pool:
            urls = [f"{server.base}/slow-but-fine/{n}.jpg" for n in range(4)]
            assert [fetched.error for fetched in pool.map(fetcher.fetch, urls)] == [None] * 4

    def test_a_directive_can_be_waived_and_the_others_hold(self, server: hostile.HostileServer) -> None:
        fetcher = Fetcher(settings(respect=("noai", "tdm-reservation")))
        waived = fetcher.fetch(f"{server.base}/robots-noindex/a.jpg")
        assert waived.error is None
        held = fetcher.fetch(f"{server.base}/robots-noai/a.jpg")
        assert held.described == "robots_tag: its server's headers say noai (--respect without it takes it)"
        assert fetcher.fetch(f"{server.base}/tdm-reserved/a.jpg").error == "robots_tag"
        assert Fetcher(settings(respect=())).fetch(f"{server.base}/robots-noai/a.jpg").error is None


def test_nothing_is_left_open(server: hostile.HostileServer) -> None:
    """Ever new fetchers, failing in every way, leave no threads behind (the name service's apart)."""
    fetcher = Fetcher(settings(deadline=0.5))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(fetcher.fetch, [f"{server.base}/{name}/left.jpg" for name in hostile.BEHAVIOURS]))
    fetcher.close()
    assert not [thread for thread in threading.enumerate() if "fetch" in thread.name]


def test_failures_of_the_moment() -> None:
    assert all(is_retryable(kind) for kind in ("timeout", "reset", "http_429", "http_503", "stalled"))
    assert not any(
        is_retryable(kind) for kind in ("http_404", "http_410", "dns", "private_address", "truncated")
    )


def test_an_error_from_nowhere_has_a_class(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(client_module, "checked_url", fails)
    assert fetcher.fetch("http://example.org").described == "internal: ZeroDivisionError"
