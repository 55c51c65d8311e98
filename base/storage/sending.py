"""Finished files of a working copy that whoever made them publishes, so that its holder need not.

What was sent is noted in the copy, for the holder to find it as published. It is sent as long as the holder
says, time and again, that it has its lease.
"""

import contextlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ..files import fingerprint, write_bytes, write_json
from .addresses import address_of
from .lease import SECONDS
from .store import StorageError, Store

__all__ = ["SENT", "Sender", "forget_sent", "permit", "sent"]

SENT = ".visunex/sent"
_PERMIT = "permit"
_PATIENCE = 20.0  # seconds: the holder publishes what cannot be sent


class Sender:
    """Puts files of the working copy in a `folder` into its store, for as long as that can be reached.

    Of any other folder it sends nothing.
    """

    def __init__(self, folder: Path) -> None:
        address = address_of(folder)
        self._folder, self._store = folder, None if address is None else Store(address, _PATIENCE)

    def withdraw(self, name: str) -> None:
        """Remove what says that others are whole, before these are replaced."""
        self._unless_away(lambda store: store.remove([name]))

    def send(self, file: Path, name: str) -> None:
        """Put a finished file, which becomes the copy's `name` afterwards."""
        if self._unless_away(lambda store: store.put(file, name)):
            state = file.stat()
            said = {"name": name, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
            write_json(self._folder / SENT / f"{fingerprint(name)[:16]}.json", said)

    def _unless_away(self, work: Callable[[Store], None]) -> bool:
        """Whether it could be done."""
        if self._store is None or not self._may:
            return False
        try:
            work(self._store)
        except StorageError:
            self._store = None
        return self._store is not None

    @property
    def _may(self) -> bool:
        """Whether the holder has said so not long ago, by the clock of the folder that all share."""
        now = self._folder / SENT / f"now-{secrets.token_hex(4)}"
        try:
            now.touch()
            age = now.stat().st_mtime - (self._folder / SENT / _PERMIT).stat().st_mtime
            now.unlink()
        except OSError:
            return False
        return age < 2 * SECONDS / 3  # it was written when a third of the lease's time was gone, at most


def sent(folder: Path) -> Iterator[tuple[Path, str, tuple[int, int]]]:
    """The notes in a working copy of what was sent: each note's file, the name, and its size and time."""
    for note in (folder / SENT).glob("*.json"):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            said = json.loads(note.read_text(encoding="utf-8"))
            yield note, str(said["name"]), (int(said["size"]), int(said["mtime_ns"]))


def permit(folder: Path) -> None:
    """Say that files may be sent for a while, as the folder's holder has just renewed its lease."""
    with contextlib.suppress(OSError):  # then nothing is sent, and the holder publishes it
        write_bytes(folder / SENT / _PERMIT, b"")


def forget_sent(folder: Path) -> None:
    """Remove all notes and the permit: from here on nothing that was sent is known."""
    shutil.rmtree(folder / SENT, ignore_errors=True)
