"""Waiting through outages: what the network did is not held against the links."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from visunex.net.fetcher import Fetched
from visunex.net.outage import Patient

DEADLINE = 0.1


class Net:
    """A network of hosts, those `gone` refusing, those `silent` taking connections and never answering.

    Links with `dead` in them lead to a host that is no more, those with `slow` never end.
    """

    def __init__(self, gone: Iterable[str] = ()) -> None:
        self.gone, self.silent, self.asked = set(gone), set[str](), 0
        self._lock = threading.Lock()

    def fetch(self, url: str) -> Fetched:
        with self._lock:
            self.asked += 1
        time.sleep(0.002)
        if url.split("/")[2] in self.silent or "slow" in url:
            time.sleep(DEADLINE)
            if url.split("/")[2] in self.silent or "slow" in url:
                return Fetched(url, None, "timeout", "no whole answer before the deadline")
        if url.split("/")[2] in self.gone or "dead" in url:
            return Fetched(url, None, "refused", "the host refuses connections")
        return Fetched(url, b"bytes")

    def reaches(self, url: str) -> bool:
        host = url.split("/")[2]
        time.sleep(DEADLINE if host in self.silent else 0.002)
        return host not in self.gone and host not in self.silent

    def patient(self, patience: float, threads: int = 8) -> Patient:
        return Patient(self.fetch, self.reaches, patience, threads)


def fetch_all(patient: Patient, urls: Iterable[str], threads: int = 8) -> list[str | None]:
    with ThreadPoolExecutor(threads) as pool:
        return [fetched.error for fetched in pool.map(patient.fetch, urls)]


def links(host: str, count: int) -> list[str]:
    return [f"http://{host}/{number}.jpg" for number in range(count)]


def test_a_host_that_is_gone_for_a_moment_costs_no_link() -> None:
    net = Net()
    patient = net.patient(30.0)
    threading.Timer(0.1, lambda: net.gone.add("a")).start()
    threading.Timer(0.7, net.gone.clear).start()
    assert set(fetch_all(patient, links("a", 900))) == {None}
    assert net.asked < 900 + 100, "it was asked like mad while it was gone"
    assert patient.waited == 0


def test_when_nothing_answers_for_good_it_is_given_up() -> None:
    net = Net()
    patient = net.patient(0.5)
    assert fetch_all(patient, links("a", 20)) == [None] * 20
    net.gone.add("a")
    assert fetch_all(patient, links("a", 300)) == ["outage"] * 300
    assert patient.gave_up


def test_a_start_without_a_network_is_an_outage_and_no_dead_link() -> None:
    net = Net({"a"})
    patient = net.patient(0.5)
    assert fetch_all(patient, links("a", 300)) == ["outage"] * 300
    net = Net({f"host{number}" for number in range(50)})
    assert set(fetch_all(net.patient(0.5), [f"http://host{number}/" for number in range(50)])) == {"outage"}


def test_a_dead_host_among_living_ones_is_dead() -> None:
    net = Net({"b"})
    patient = net.patient(60.0)
    urls = [url for pair in zip(links("a", 100), links("b", 100), strict=True) for url in pair]
    assert fetch_all(patient, urls) == [None, "refused"] * 100
    assert not patient.gave_up


def test_a_host_that_goes_for_good_holds_up_no_other() -> None:
    net = Net()
    patient = net.patient(0.6)
    assert fetch_all(patient, links("a", 8) + links("b", 8)) == [None] * 16
    net.gone.add("b")
    living = links("a", 600)
    urls = [url for pair in zip(living, links("b", 600), strict=True) for url in pair]
    found = fetch_all(patient, urls)
    assert found[::2] == [None] * 600
    assert set(found[1::2]) == {"outage"}
    assert not patient.gave_up


def test_a_link_that_leads_to_a_dead_host_is_not_an_outage_of_its_own() -> None:
    net = Net()
    patient = net.patient(60.0)
    assert fetch_all(patient, links("a", 8)) == [None] * 8
    assert fetch_all(patient, [f"http://a/dead/{number}" for number in range(20)]) == ["refused"] * 20


def test_a_host_that_falls_silent_costs_no_link() -> None:
    """As if its process were stopped: connections are taken, and nothing comes."""
    net = Net()
    patient = net.patient(30.0)
    threading.Timer(0.1, lambda: net.silent.add("a")).start()
    threading.Timer(1.0, net.silent.clear).start()
    assert set(fetch_all(patient, links("a", 900))) == {None}
    assert net.asked < 900 + 100, "it was asked like mad while it was silent"


def test_when_all_hosts_fall_silent_it_is_waited_for_them() -> None:
    """Also for those that were never heard of: the hosts that answered before are silent, too."""
    net = Net()
    patient = net.patient(30.0)
    hosts = [f"host{number}" for number in range(40)]
    assert fetch_all(patient, [f"http://{host}/" for host in hosts[:10]]) == [None] * 10
    net.silent = set(hosts)
    threading.Timer(1.5, net.silent.clear).start()
    assert fetch_all(patient, [f"http://{host}/" for host in hosts]) == [None] * 40
    net.silent = set(hosts)
    assert set(fetch_all(net.patient(0.5), [f"http://{host}/" for host in hosts])) == {"outage"}


def test_slow_links_are_no_outage_where_their_host_answers() -> None:
    net = Net()
    patient = net.patient(30.0)
    assert fetch_all(patient, links("a", 8)) == [None] * 8
    began = net.asked
    assert fetch_all(patient, [f"http://a/slow/{number}" for number in range(16)]) == ["timeout"] * 16
    assert net.asked - began <= 32


def test_dead_hosts_that_are_left_at_the_end_are_no_outage() -> None:
    """Nothing else is asked for any more; one that answered before still does."""
    net = Net()
    patient = net.patient(30.0)
    assert fetch_all(patient, links("a", 8)) == [None] * 8
    net.silent = {f"dead{number}" for number in range(24)}
    assert fetch_all(patient, [f"http://{host}/" for host in sorted(net.silent)]) == ["timeout"] * 24
    assert not patient.gave_up
