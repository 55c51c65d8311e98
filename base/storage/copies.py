"""A working copy on this machine of a folder in an object store: worked on here, published there.

What is done is published by and by, and at the end: what has changed goes first, then the new files come in
their order, so that one which says that others are whole never stands beside older ones. Whoever worked on
the folder last is right: a copy that did so goes on from what it has, any other begins with what is there.
"""

import _thread
import contextlib
import json
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from filelock import FileLock, Timeout

from ..files import write_json
from ..progress import Progress
from ..text import printable, size_shown
from .addresses import ABOUT, address_of
from .lease import Lease, LeaseError
from .sending import SENT, forget_sent, permit, sent
from .store import StorageError, Store

__all__ = ["Order", "WorkingCopy", "working_copy"]

Order = Callable[[str], int | None]  # when a file is published, by its name; None: it stays here

LEASE = ".visunex/lease.json"
_EVERY = 10.0  # seconds between two times that is published what is done
_SHORT = 20.0  # seconds of patience while the work goes on
_UNKNOWN = (-1, -1)  # the size and time of a file that is being put
_READER_WAITS = 10.0  # seconds for another command on this machine to have copied what is there


class WorkingCopy:
    """The working copy in `folder` of what is at an `address`."""

    def __init__(self, folder: Path, address: str, order: Order) -> None:
        self.folder, self.address = folder, address
        self._order: Order = lambda name: None if name.startswith(f"{SENT}/") else order(name)
        self._about_file = folder.parent / ABOUT
        self._store = Store(address)
        self._lock = FileLock(folder.parent / "lock")

    def fetch(self, only: Collection[str] | None = None) -> None:
        """Bring what is here (or `only` these files) up to date, unless it is worked on here right now.

        Raises StorageError.
        """
        with contextlib.suppress(Timeout), self._lock.acquire(timeout=0 if only else _READER_WAITS):
            about = self._about()
            if not self._is_latest(about):
                self._copy_here(about, self._store.listed(), only)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against others for the block, begin with what is there, publish what is done.

        Raises LeaseError, StorageError.
        """
        with self._lock:
            about = self._about()
            latest = self._is_latest(about)
            if not latest:
                self.note({**about, "behind": True})  # until all is here, whoever has the lease
            is_main = threading.current_thread() is threading.main_thread()
            on_loss = _thread.interrupt_main if is_main else lambda: None
            lease = Lease(
                self._store, LEASE, about["id"], on_loss=on_loss, on_renewal=lambda: permit(self.folder)
            )
            with lease.held():
                forget_sent(self.folder)
                listed = self._store.listed()
                about = {**about, "files": _still_there(about["files"], listed)}
                if not latest:
                    about = self._copy_here(about, listed, None)
                permit(self.folder)
                try:
                    with self._publishing(_Publisher(self, lease, about, listed)):
                        yield
                finally:
                    forget_sent(self.folder)

    @contextlib.contextmanager
    def _publishing(self, publisher: "_Publisher") -> Iterator[None]:
        thread = threading.Thread(target=publisher.by_and_by, daemon=True)
        thread.start()
        try:
            yield
        except BaseException as error:
            publisher.over.set()
            thread.join()
            if publisher.lease.is_lost:
                raise LeaseError(
                    f"{self.address} was taken over by another, as this process had not said for long that "
                    "it is at work; what it had not published is dropped"
                ) from None
            with contextlib.suppress(StorageError, LeaseError):  # why the work failed matters more
                publisher.publish(self._store)
            raise error
        publisher.over.set()
        thread.join()
        publisher.publish(self._store)

    def _is_latest(self, about: dict[str, Any]) -> bool:
        """Whether nobody has worked on the folder since this copy was worked on."""
        lease = Lease(self._store, LEASE, about["id"], on_loss=lambda: None)
        return not about.get("behind") and lease.last() == about["id"]

    def _copy_here(
        self, about: dict[str, Any], listed: dict[str, tuple[int, str]], only: Collection[str] | None
    ) -> dict[str, Any]:
        """Have here what is there; what is not there goes, unless `only` some files are wanted."""
        ours = {name: state for name, (_, state) in listed.items() if self._is_ours(name)}
        here, files = self.states(), dict(about["files"])
        wanted = [name for name in ours if only is None or name in only]
        stale = [name for name in wanted if not _is_same(files.get(name), here.get(name), ours[name])]
        if only is None:
            for name in here.keys() - ours.keys():
                (self.folder / name).unlink(missing_ok=True)
        self._require_room({name: listed[name][0] for name in stale})
        with Progress(f"copy from {self.address}", len(stale), "files") as progress:
            for name in self._store.in_parallel(self._fetched, sorted(stale)):
                files[name] = [*self.state(name), ours[name]]
                progress.advance()
        files = {name: own for name, own in files.items() if name in ours}
        about = {**about, "files": files, "behind": only is not None}
        self.note(about)
        return about

    def _require_room(self, sizes: Mapping[str, int]) -> None:
        """Raise StorageError where objects of these sizes have no room here; they replace what is here."""
        here = self.states()
        more = sum(size - here.get(name, (0, 0))[0] for name, size in sizes.items())
        self.folder.mkdir(parents=True, exist_ok=True)
        if more > (free := shutil.disk_usage(self.folder).free):
            raise StorageError(
                f"{self.address} is copied here to be worked on, which takes {size_shown(more)} more in "
                f"{self.folder.parent}, and {size_shown(free)} are free there: make room, or set "
                "XDG_CACHE_HOME to a folder that has it"
            )

    def _is_ours(self, name: str) -> bool:
        """Whether an object is a file of the copy; others' names may lead anywhere."""
        return self._order(name) is not None and not {"", ".", ".."}.intersection(name.split("/"))

    def _fetched(self, name: str) -> str:
        try:
            self._store.fetch(name, self.folder / name)
        except FileNotFoundError:
            raise StorageError(
                f"{self.address}/{name} went while it was copied: another is at work there; try again later"
            ) from None
        return name

    def states(self) -> dict[str, tuple[int, int]]:
        """The size and time of each file here that is published, by its name."""
        found = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if self._order(name) is not None and path.is_file() and not path.is_symlink():
                with contextlib.suppress(FileNotFoundError):
                    found[name] = self.state(name)
        return found

    def state(self, name: str) -> tuple[int, int]:
        """The size and time of a file here. Raises FileNotFoundError."""
        state = (self.folder / name).stat()
        return state.st_size, state.st_mtime_ns

    def in_order(self, names: Collection[str]) -> list[list[str]]:
        """Names, those together that may be published at the same time."""
        ordered = sorted(names, key=lambda name: (self._order(name) or 0, name))
        return [list(group) for _, group in groupby(ordered, key=lambda name: self._order(name) or 0)]

    def _about(self) -> dict[str, Any]:
        """What is known of the copy: its `id`, and of each file what it and the published one were like."""
        found = json.loads(self._about_file.read_text(encoding="utf-8"))
        return {"files": {}, "id": secrets.token_hex(8), **found}

    def note(self, about: dict[str, Any]) -> None:
        """Note what is known of the copy."""
        write_json(self._about_file, about)


class _Publisher:
    """Publishes what changes in a copy, while it has the lease."""

    def __init__(
        self, copy: WorkingCopy, lease: Lease, about: dict[str, Any], there: Collection[str]
    ) -> None:
        self._copy, self.lease, self._about = copy, lease, about
        self._files: dict[str, list[Any]] = dict(about["files"])
        self._there = set(there)
        self.over = threading.Event()

    def by_and_by(self) -> None:
        """Publish every few seconds until the work is over; what fails is tried again the next time."""
        store, is_said = Store(self._copy.address, _SHORT), False
        while not self.over.wait(_EVERY) and not self.lease.is_lost:
            try:
                self._bring_up(store)
                is_said = False
            except LeaseError:
                return
            except StorageError as error:
                if not is_said:
                    said = f"{error}; the work goes on, and is published later"
                    click.echo(printable(f"storage: {said}"), err=True)
                is_said = True

    def publish(self, store: Store) -> None:
        """Publish all that is done. Raises StorageError, LeaseError."""
        try:
            self._bring_up(store)
            states = _states(store)
            if lost := self._files.keys() - states.keys():  # removed there while its maker sent it
                for name in lost:
                    del self._files[name]
                self._bring_up(store)
                states = _states(store)
        except StorageError as error:
            raise StorageError(f"{error}. What is done is kept here; the same command publishes it") from None
        self._files = {name: [*own[:2], states.get(name)] for name, own in self._files.items()}
        self._note()

    def _bring_up(self, store: Store) -> None:
        now = self._copy.states()
        self._count_sent(now)
        changed = [name for name, state in now.items() if self._files.get(name, [])[:2] != [*state]]
        gone = [name for name in self._files if name not in now]
        if not (changed or gone):
            return
        if not self.lease.holds():
            raise LeaseError(f"{self._copy.address} was taken over by another")
        store.remove([name for name in (*gone, *changed) if name in self._there])
        self._there.difference_update(gone, changed)
        for name in gone:
            del self._files[name]
        with Progress(f"copy to {self._copy.address}", len(changed), "files") as progress:
            for names in self._copy.in_order(changed):
                self._put_all(store, names, progress)

    def _count_sent(self, now: Mapping[str, tuple[int, int]]) -> None:
        """Have what its makers sent count as published, once it is in its place here."""
        for note, name, state in list(sent(self._copy.folder)):
            if now.get(name) == state:
                self._files[name] = [*state, None]
                self._there.add(name)
            if name in now:
                note.unlink(missing_ok=True)

    def _put_all(self, store: Store, names: list[str], progress: Progress) -> None:
        """Put some files, which are noted before, so that none is there that nobody knows of."""
        self._files.update((name, [*_UNKNOWN, None]) for name in names)
        self._note()
        for name, state in store.in_parallel(lambda each: self._put(store, each), names):
            self._there.add(name)
            self._files[name] = [*state, None]
            progress.advance()
        self._note()

    def _put(self, store: Store, name: str) -> tuple[str, tuple[int, int]]:
        """Put a file; its state before, which is none where it has gone meanwhile."""
        try:
            before = self._copy.state(name)
            store.put(self._copy.folder / name, name)
        except FileNotFoundError:
            return name, _UNKNOWN
        return name, before

    def _note(self) -> None:
        self._copy.note({**self._about, "behind": False, "files": self._files})


def working_copy(folder: Path, order: Order) -> WorkingCopy | None:
    """The working copy in a folder; None where it is none."""
    address = address_of(folder)
    return None if address is None else WorkingCopy(folder, address, order)


def _states(store: Store) -> dict[str, str]:
    return {name: state for name, (_, state) in store.listed().items()}


def _is_same(before: list[Any] | None, here: tuple[int, int] | None, there: str) -> bool:
    """Whether a file is as it was when it was the same as what is there, and that too."""
    return before is not None and here is not None and before == [*here, there]


def _still_there(files: dict[str, list[Any]], listed: dict[str, tuple[int, str]]) -> dict[str, list[Any]]:
    """What is known of files that are published as they were."""
    return {
        name: own
        for name, own in files.items()
        if name in listed and own[0] in (_UNKNOWN[0], listed[name][0]) and own[2] in (None, listed[name][1])
    }
