"""Leases on folders in object stores, at a real server of S3 and where nothing is written on a condition."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, s3_server

from visunex.base.storage import Lease, LeaseError, StorageError, Store
from visunex.base.storage.store import Changed

NAME = ".visunex/lease.json"


@pytest.fixture(scope="module", params=["s3", "memory"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A folder in a bucket, and one in a store without conditional writes."""
    if request.param == "memory":
        yield "memory://leases"
        return
    with s3_server():
        yield f"s3://{BUCKET}/leases"


@pytest.fixture
def store(address: str, request: pytest.FixtureRequest) -> Store:
    return Store(f"{address}/{request.node.name}", patience=5)


def lease(store: Store, copy: str, seconds: float = 60, lost: threading.Event | None = None) -> Lease:
    return Lease(store, NAME, copy, seconds=seconds, on_loss=(lost or threading.Event()).set)


def test_one_at_a_time_and_the_next_when_it_is_given_back(store: Store) -> None:
    with lease(store, "a").held():
        with (
            pytest.raises(LeaseError, match=r"is in use by process \d+ on .* ends in \d+ s"),
            lease(store, "b").held(),
        ):
            raise AssertionError("two hold it")
        assert lease(store, "b").last() == "a"
    with lease(store, "b").held():
        assert json.loads(store.read(NAME))["copy"] == "b"
    assert json.loads(store.read(NAME))["released"] is True


def test_what_a_killed_process_left_is_taken_over_when_stale(store: Store) -> None:
    store.write(NAME, json.dumps({"holder": "x", "copy": "a", "pid": 1, "host": "h", "seconds": 1}).encode())
    with pytest.raises(LeaseError, match="process 1 on h"), lease(store, "b").held():
        pass
    with lease(store, "a").held():  # its own copy's driver is gone, as the folder is locked here
        pass
    store.write(NAME, json.dumps({"holder": "x", "copy": "a", "seconds": 1}).encode())
    time.sleep(2.1)
    with lease(store, "b").held():
        assert lease(store, "c").last() == "b"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"seconds": "long"}', b'{"seconds": -1}'])
def test_a_lease_that_says_nothing_holds_for_a_while(store: Store, data: bytes) -> None:
    store.write(NAME, data)
    with pytest.raises(LeaseError, match="is in use by"), lease(store, "b").held():
        pass


def test_who_lost_it_writes_no_more_and_says_so(store: Store) -> None:
    lost = threading.Event()
    mine = lease(store, "a", seconds=0.3, lost=lost)
    with mine.held():
        store.write(NAME, json.dumps({"holder": "other", "copy": "b", "seconds": 60}).encode())
        assert lost.wait(10)
        assert not mine.holds()
    assert json.loads(store.read(NAME))["copy"] == "b"  # not given back by who had lost it


def test_it_is_renewed_while_it_is_held(store: Store) -> None:
    with lease(store, "a", seconds=0.3).held():
        first = store.find(NAME)
        deadline = time.monotonic() + 10
        while store.find(NAME) is not None and store.read(NAME) == (first and first.data):
            assert time.monotonic() < deadline or store.find(NAME).state != first.state  # type: ignore[union-attr]
            if store.find(NAME).age <= 1:  # type: ignore[union-attr]
                break


def test_of_two_that_begin_in_one_moment_one_has_it(store: Store) -> None:
    state = store.write_if(NAME, b"first", None)
    for other in (None, "another state"):
        with pytest.raises(Changed):
            store.write_if(NAME, b"second", other)
    assert store.write_if(NAME, b"third", state) != state
    assert store.read(NAME) == b"third"
    assert store.is_conditional is store.address.startswith("s3")


def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nonsense://x cannot be opened .*fsspec has no client"):
        Store("nonsense://x").listed()
