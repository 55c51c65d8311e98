"""Hosts that ask to slow down: every link is had in the end, with hardly more requests than links."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hostile
import pytest
import throttled

from visunex.net import rate_limit
from visunex.net.errors import FetchError, retry_after
from visunex.net.fetcher import Fetched, Fetcher, FetchSettings
from visunex.net.rate_limit import HostLimits

LINKS = 300


def fetch_all(urls: Iterable[str], processes: int = 1, **settings: Any) -> list[Fetched]:
    """What becomes of the links, each of `processes` fetchers asking for its share of them."""
    limits = {"host_connections": 16 // processes, **settings}
    fetchers = [Fetcher(FetchSettings(allow_private=True, **limits)) for _ in range(processes)]
    with ThreadPoolExecutor(32) as pool:
        fetched = pool.map(lambda each: fetchers[each[0] % processes].fetch(each[1]), enumerate(urls))
        return list(fetched)


@pytest.mark.parametrize(
    ("answer", "processes"),
    [
        ({}, 1),
        ({"retry_after": 1}, 4),
        ({"retry_after": 1, "as_date": True}, 1),
        ({"status": 503}, 4),
        ({"status": 503, "retry_after": 1}, 1),
        ({"burst": 75}, 4),
    ],
)
def test_every_link_is_had_with_few_requests_more(answer: dict[str, Any], processes: int) -> None:
    """Whichever way the host says it, also where several processes ask without knowing of each other."""
    with throttled.throttled(150, **answer) as server:
        fetched = fetch_all([f"{server.base}/{number}.jpg" for number in range(LINKS)], processes)
        asked = sum(server.visits.values())
    assert [each.error for each in fetched if each.body is None] == []
    assert server.visits[200] == LINKS
    assert LINKS < asked <= 1.3 * LINKS


def test_a_host_that_is_well_is_not_slowed_by_a_broken_link() -> None:
    """One link in twenty answers 503 for ever: it fails, and the host is asked as often as ever."""
    hostile.OPEN.clear()
    with hostile.hostile() as server:
        fetcher = Fetcher(FetchSettings(allow_private=True, retries=1))
        for number in range(40):
            name = "closed-for-now" if number % 20 == 5 else "good"
            fetched = fetcher.fetch(f"{server.base}/{name}/{number}.jpg")
            assert fetched.error == (None if name == "good" else "http_503")
            assert fetched.tries == (1 if name == "good" else 2)


def test_a_link_that_is_told_to_come_much_later_holds_up_nobody() -> None:
    with hostile.hostile() as server:
        urls = [f"{server.base}/{'429-for-long' if n == 3 else 'good'}/{n}.jpg" for n in range(12)]
        fetched = fetch_all(urls)
    assert [each.error for each in fetched] == ["http_429" if n == 3 else None for n in range(12)]
    assert fetched[3].tries == 1
    assert "asks to wait 3600 s; the same command tries again later" in fetched[3].message


def test_a_host_that_says_when_is_waited_for_up_to_the_patience() -> None:
    """Also for longer than a host that only ever says to slow down would be."""
    with throttled.throttled(0.4, 1, retry_after=1) as server:
        urls = [f"{server.base}/{number}.jpg" for number in range(3)]
        assert [each.error for each in fetch_all(urls)] == [None] * 3
        impatient = FetchSettings(allow_private=True, patience=0.5)
        assert Fetcher(impatient).fetch(urls[0]).error == "http_429"


def test_a_host_that_never_says_anything_else_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its links fail without being asked for, but for one now and then."""
    monkeypatch.setattr(rate_limit, "_FIRST_PAUSE", 0.2)
    with throttled.throttled(0) as server:
        fetched = fetch_all([f"{server.base}/{number}.jpg" for number in range(100)], patience=0.5)
        asked = sum(server.visits.values())
    assert {each.error for each in fetched} == {"http_429"}
    assert asked < 30


def test_a_slower_host_holds_up_no_other() -> None:
    limits = HostLimits(4, None)
    with limits.turn("slow") as turn:
        assert turn.answered(429, 100.0)
    began = time.monotonic()
    with limits.turn("other"):
        assert time.monotonic() - began < 50


def test_who_waits_for_a_turn_is_put_off_by_what_another_is_told() -> None:
    """Until it is clear that the host gives nothing at all: then it fails."""
    limits, failures = HostLimits(4, None, 120.0), list[str]()

    def wait() -> None:
        try:
            with limits.turn("host"):
                pass
        except FetchError as error:
            failures.append(error.kind)

    with limits.turn("host") as first, limits.turn("host") as second:
        first.answered(429, 100.0)
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.05)
        second._began = time.monotonic()  # as if it had been asked behind the pause
        second.answered(429, 100.0)
    waiting.join(60)
    assert failures == ["http_429"]


def test_the_rate_halves_once_for_what_was_in_flight_and_rises_again() -> None:
    limits = HostLimits(8, None)
    with limits.turn("host") as one, limits.turn("host") as other:
        assert one.answered(429, 0.0)
        assert other.answered(429, 0.0)
    host = limits._hosts["host"]
    assert host.rate == 4.0  # half of its connections
    before = host.rate
    with limits.turn("host") as turn:
        assert not turn.answered(200)
    assert before < host.rate < before + 1


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), (" 7 ", 7.0), ("soon", None), ("-1", None), (None, None)]
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds
