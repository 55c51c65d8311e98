"""A command's output at an address in an object store: made here, published when it is whole."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import overload

from ..errors import UsageError, VisunexError
from ..files import write_json
from ..folders import cache_folder
from .addresses import ABOUT, FILES, is_stored, shown
from .store import Store

__all__ = ["stored_output"]

_LAST = (".json",)  # what says how the others were made


@overload
def stored_output(place: None) -> AbstractContextManager[None]: ...
@overload
def stored_output(place: str | Path) -> AbstractContextManager[Path]: ...
def stored_output(place: str | Path | None) -> AbstractContextManager[Path | None]:
    """Where to make a file or folder that is wanted at `place`, which may be in an object store.

    Of a file, it and those beside it that are called like it are there for the block, so that it is seen what
    would be replaced; what has changed at the block's end is published. Raises StorageError, UsageError.
    """
    if place is None or not is_stored(place):
        return contextlib.nullcontext(None if place is None else Path(place))
    return _published(str(place))


@contextlib.contextmanager
def _published(place: str) -> Iterator[Path]:
    address, _, name = place.rstrip("/").rpartition("/")
    if address.endswith(":/"):
        raise UsageError(f"{place} names no file in a bucket: s3://BUCKET/NAME")
    store, root = Store(address), cache_folder("stored")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="out-", dir=root.absolute()) as home:
        folder = Path(home) / FILES
        write_json(Path(home) / ABOUT, {"address": address})
        folder.mkdir()
        for each in _to_see(store.listed(), name):
            store.fetch(each, folder / each)
        before = _states(folder)
        try:
            yield folder / name
        except VisunexError as error:
            error.args = (shown(str(error)),)
            raise
        after = _states(folder)
        made = sorted(
            (each for each, state in after.items() if before.get(each) != state),
            key=lambda each: (each.endswith(_LAST), each),
        )
        for each in made:
            store.put(folder / each, each)
        shutil.rmtree(folder)


def _to_see(listed: Iterable[str], name: str) -> list[str]:
    """Objects by which it is seen what would be replaced: NAME.pt, NAME.json, NAME-1.pt; of a folder one."""
    stem, names = Path(name).stem, list(listed)
    beside = [each for each in names if "/" not in each and each.startswith((f"{stem}.", f"{stem}-"))]
    return [*beside, *[each for each in names if each.startswith(f"{name}/")][:1]]


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    states = (path.stat() for path in files)
    names = (path.relative_to(folder).as_posix() for path in files)
    return {name: (state.st_size, state.st_mtime_ns) for name, state in zip(names, states, strict=True)}
