"""Single files in object stores that a command reads: copied here, with what lies beside them."""

from collections.abc import Collection
from pathlib import Path

from filelock import FileLock

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
    folder = here / (store.address.rpartition("/")[2] or "files")
    write_json(here / ABOUT, {"address": store.address, "folder": folder.name})

    def belongs(each: str) -> bool:
        return each in also or each.startswith((f"{stem}.", f"{stem}-"))

    wanted = [each for each in beside if belongs(each)]
    with FileLock(here / "lock"):  # another command may read the same
        for each in wanted:
            if beside[each] > most:
                raise StorageError(
                    f"{address}/{each} has {beside[each]:,} bytes, more than {most:,} for its kind"
                )
            store.fetch(each, folder / each)
        for path in folder.iterdir():  # what is there no more must not stand beside it
            if belongs(path.name) and path.name not in wanted:
                path.unlink()
    return folder / name
