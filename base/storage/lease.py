"""A lease on a folder in an object store, in place of a lock: who works there, and until when that holds.

The holder renews it while it works. One whose holder has not renewed it for as long as it was good for is
stale, and another takes it over; whoever was quicker is told by the store, which writes on a condition.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from ..errors import VisunexError
from ..text import printable
from .store import Changed, Found, StorageError, Store

__all__ = ["SECONDS", "Lease", "LeaseError"]

SECONDS = 60.0  # that a lease is good for
_LONGEST = 3600.0  # that another's may say to be good for


class LeaseError(VisunexError):
    """Another works on the folder."""


class Lease:
    """A lease that this process may take, for the working copy called `copy`.

    `on_loss` is called, in a thread, when another has taken it over, `on_renewal` when it was renewed.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        copy: str,
        *,
        seconds: float = SECONDS,
        on_loss: Callable[[], None],
        on_renewal: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._name, self._copy, self._seconds = store, name, copy, seconds
        self._on_loss, self._on_renewal = on_loss, on_renewal
        self._over, self._writing = threading.Event(), threading.Lock()
        self._about = {
            "holder": secrets.token_hex(8),
            "copy": copy,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.ctime(),
        }
        self._state: str | None = None
        self._renewed = 0.0
        self.is_lost = False

    def last(self) -> str | None:
        """The working copy that was worked on last. Raises StorageError."""
        found = self._store.find(self._name)
        return None if found is None else _said(found).get("copy")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the block, and renew it meanwhile. Raises LeaseError, StorageError."""
        self._take()
        renewing = threading.Thread(target=self._renew_on, daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._over.set()
            renewing.join()
            with contextlib.suppress(Changed, StorageError):
                if not self.is_lost:
                    self._write(is_released=True)

    def holds(self) -> bool:
        """Whether it is this process's still, so that it may write; asks the store where time has run out."""
        if not self.is_lost and time.monotonic() - self._renewed > self._seconds:
            self._renew()
        return not self.is_lost

    def _take(self) -> None:
        found = self._store.find(self._name)
        if found is not None and self._is_anothers(found):
            raise LeaseError(self._describe(found))
        self._state = None if found is None else found.state
        try:
            self._write()
        except Changed:
            found = self._store.find(self._name)
            busy = f"{self._store.address} is in use by another process"
            raise LeaseError(busy if found is None else self._describe(found)) from None
        if not self._store.is_conditional:
            text = f"{self._store.address} cannot write on a condition: of two that begin in the same moment "
            click.echo(printable(f"storage: {text}only the lease's time keeps one away"), err=True)

    def _is_anothers(self, found: Found) -> bool:
        """Whether a lease holds, for another working copy: this one's own was of a process that is gone."""
        said = _said(found)
        if said.get("released") is True or said.get("copy") == self._copy:
            return False
        return found.age <= _seconds(said)

    def _describe(self, found: Found) -> str:
        said = _said(found)
        who = (
            f"process {said.get('pid')} on {said.get('host')} since {said.get('since')}"
            if said
            else "another"
        )
        long = _seconds(said)
        gone = f"where that is gone, its lease of {long:.0f} s ends in {max(0.0, long - found.age):.0f} s"
        return f"{self._store.address} is in use by {who}; {gone}"

    def _renew_on(self) -> None:
        while not self._over.wait(self._seconds / 3):
            with contextlib.suppress(StorageError):  # it is tried again, and `holds` looks at the time
                self._renew()
            if self.is_lost:
                return

    def _renew(self) -> None:
        try:
            self._write()
            if time.monotonic() - self._renewed < self._seconds / 3:
                self._on_renewal()
        except Changed:
            self.is_lost = True
            self._on_loss()

    def _write(self, *, is_released: bool = False) -> None:
        """Write what is said of it. Raises Changed where another was quicker, StorageError."""
        said = {**self._about, "seconds": self._seconds, "released": is_released}
        with self._writing:
            began = time.monotonic()
            try:
                data = (json.dumps(said, indent=2) + "\n").encode()
                self._state = self._store.write_if(self._name, data, self._state)
            except Changed:
                found = self._store.find(self._name)
                if found is None or _said(found).get("holder") != self._about["holder"]:
                    raise
                self._state = found.state  # it was our own write, the answer to which was lost
            self._renewed = began


def _said(found: Found) -> dict[str, Any]:
    """What a lease says; nothing where it cannot be read."""
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(found.data)
        return said if isinstance(said, dict) else {}
    return {}


def _seconds(said: dict[str, Any]) -> float:
    found = said.get("seconds")
    return min(float(found), _LONGEST) if isinstance(found, int | float) and found >= 0 else SECONDS
