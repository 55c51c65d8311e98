"""Addresses in object stores, and where the working copy of each lies on this machine.

A working copy is `visunex/stored/NAME-HASH/` in the cache folder: `copy.json` names its address, `run/` (or
whatever the last part is called) holds the files.
"""

import contextlib
import json
import re
from pathlib import Path

from ..errors import UsageError
from ..files import fingerprint, write_json
from ..folders import cache_folder

__all__ = ["ABOUT", "FILES", "address_of", "is_address", "is_stored", "restored", "shown", "working_folder"]

ABOUT = "copy.json"  # beside a working copy: the address of what it is one of, and what it knows of that
FILES = "run"
_NOT_STORES = ("http", "https", "hf", "datasets", "data")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_COLLAPSED = re.compile(r"(s3|gs|gcs|az|abfs|abfss|memory):/[^/]")  # as Path has them


def is_address(place: str | Path) -> bool:
    """Whether a place is meant as an address in an object store, as files are read from."""
    found = _ADDRESS.fullmatch(str(place))
    return found is not None and found[1] not in _NOT_STORES


def is_stored(place: str | Path) -> bool:
    """Whether a place that files are written to, or a run's, is an address in an object store.

    Raises UsageError for addresses that nothing is written to, and for those that `Path` has spoilt.
    """
    text = str(place)
    if _COLLAPSED.match(text):
        raise UsageError(f"{text} was an address before it became a Path: give it as text, with both slashes")
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return False
    if found[1] in _NOT_STORES or not found[2].strip("/"):
        raise UsageError(
            f"{text}: nothing can be kept there; name a folder here, or one in a bucket, s3://BUCKET/FOLDER"
        )
    return True


def working_folder(address: str) -> Path:
    """Where the files of a folder in an object store are worked on; it and what says so are made."""
    address = address.rstrip("/")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", address.partition("://")[2])[-60:].strip("-.")
    home = cache_folder("stored").absolute() / f"{name}-{fingerprint(address)[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / ABOUT).exists():
        write_json(home / ABOUT, {"address": address})
    return home / FILES


def address_of(folder: Path) -> str | None:
    """The address of what a folder is a copy of; None for any other folder."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads((folder.parent / ABOUT).read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("folder", FILES) == folder.name:
            address = found.get("address")
            return address if isinstance(address, str) else None
    return None


def shown(text: str) -> str:
    """A text for a person, in which copies are called by the addresses of what they are copies of."""
    home = str(cache_folder("stored").absolute()) if "/stored/" in text else ""
    if not home or home not in text:
        return text
    place = re.compile(rf"{re.escape(home)}/[^/\s]+/[^/\s]+")
    return place.sub(lambda found: address_of(Path(found[0])) or found[0], text)


def restored(text: str) -> str:
    """A message in which addresses that `Path` has spoilt have both slashes again."""
    return _COLLAPSED.sub(lambda found: found[0].replace(":/", "://", 1), text)
