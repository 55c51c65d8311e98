"""Runs in object stores: which of a run's files are published, in which order, and what is brought here."""

import contextlib
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path

from visunex.base.files import TEMPORARY_SUFFIX
from visunex.base.storage import (
    PATIENCE,
    LeaseError,
    StorageError,
    Store,
    WorkingCopy,
    is_address,
    working_copy,
    working_folder,
)

from .errors import RunBusyError
from .shards.naming import STATS

__all__ = ["names_stored_run", "published", "run_or_place", "when_published", "with_all", "with_recipe"]

_RECIPE = ("recipe.toml", ".visunex/run.json")  # what is asked of a run before it is held
_OF_RUNS = ("report.json", "selected.parquet", "downloaded.parquet")  # by one of which it is told
_STAYS = ("lock", "holder.json", "lease.json", "copied", "pictures", "own")  # in .visunex, where it is made
_FILES = (
    *("recipe.toml", "selected.parquet", "shards", "downloaded.parquet", "thumbnails", "choice.parquet"),
    *("groups.parquet", "scores.parquet", "contact", "report.json", "report.html"),
)
_LOOKS = 10.0  # seconds for a store to say whether there is a run, where anything else may be meant
_NOTED, _MADE, _MARKED, _REPORTED = range(4)  # what is published one after the other


def when_published(name: str) -> int | None:
    """When a file of a run is published: after others of its stage, if it says that they are whole.

    None for what is no file of a run, or only of those who work on it.
    """
    first, _, rest = name.partition("/")
    if name.endswith(TEMPORARY_SUFFIX) or name.startswith("shards/_tmp/"):
        return None
    if first in (".visunex", "recipe.toml"):
        return None if rest.partition("/")[0] in _STAYS else _NOTED
    is_embedding = first.startswith("embedding")
    if first not in _FILES and not is_embedding and not first.startswith("vectors"):
        return None
    if name.endswith(STATS) or "/metadata/metadata_" in name or (is_embedding and first.endswith(".json")):
        return _MARKED
    return _REPORTED if first.startswith("report.") else _MADE


@contextlib.contextmanager
def published(folder: Path) -> Iterator[None]:
    """Hold a run in an object store for the block, and publish what is done in its working copy, a `folder`.

    Nothing for any other folder. Raises RunBusyError, StorageError.
    """
    copy = working_copy(folder, when_published)
    try:
        with contextlib.nullcontext() if copy is None else copy.held():
            yield
    except LeaseError as error:
        raise RunBusyError(f"{error}; wait, or choose --run") from None


def names_stored_run(what: str, patience: float = PATIENCE) -> bool:
    """Whether there is a run at an address in an object store. Raises StorageError."""
    if not is_address(what):
        return False
    store = Store(what, patience)
    return any(map(store.has, _OF_RUNS))


def run_or_place(place: str | Path) -> str | Path:
    """The working copy of a run in an object store, which a place may mean; else the place.

    Raises StorageError where there is a run that cannot be copied.
    """
    text = str(place)
    if not is_address(text) or "." in text.rstrip("/").rpartition("/")[2] or has_magic(text):
        return place
    try:
        is_run = names_stored_run(text, _LOOKS)
    except StorageError:  # files are read without a client, and without credentials where they are public
        return place
    return with_all(text) if is_run else place


def with_recipe(address: str) -> Path:
    """The working copy of a run, with its recipe. Raises StorageError."""
    copy = _copy(address)
    copy.fetch(_RECIPE)
    return copy.folder


def with_all(address: str) -> Path:
    """The working copy of a run, with all that is published. Raises StorageError."""
    copy = _copy(address)
    copy.fetch()
    return copy.folder


def _copy(address: str) -> WorkingCopy:
    return WorkingCopy(working_folder(address), address.rstrip("/"), when_published)
