"""Single files in object stores that a command reads: copied here, with what lies beside them."""

import shutil
from collections.abc import Collection
from pathlib import Path

from ..files import fingerprint, write_json
from ..folders import cache_folder
from .addresses import ABOUT
from .store import StorageError, Store

__all__ = ["stored_input"]

_PATIENCE = 20.0  # seconds: somebody waits for the command to begin


def stored_input(address: str, name: str, most: int, also: Collection[str] = ()) -> Path | None:
    """A copy of the object `name` of those under an address; None where it is not there.

    Those beside it that are called like it come along, and `also` these: NAME.json, NAME-1.pt. Their folder
    is called as the last part of the address. Raises StorageError, also for one of more than `most` bytes.
    """
    store, stem = Store(address, _PATIENCE), Path(name).stem
    beside = store.beside()
    if name not in beside:
        return None
    here = cache_folder("stored").absolute() / f"read-{fingerprint(f'{store.address}/{name}')[:12]}"
    shutil.rmtree(here, ignore_errors=True)
    folder = here / (store.address.rpartition("/")[2] or "files")
    write_json(here / ABOUT, {"address": store.address, "folder": folder.name})
    for each in (each for each in beside if each in also or each.startswith((f"{stem}.", f"{stem}-"))):
        if beside[each] > most:
            raise StorageError(
                f"{address}/{each} has {beside[each]:,} bytes, more than {most:,} for its kind"
            )
        store.fetch(each, folder / each)
    return folder / name
