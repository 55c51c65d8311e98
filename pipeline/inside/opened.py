"""Files with pictures inside, opened for reading in parts: on this machine or behind an address."""

import functools
from pathlib import Path

from visunex.net.hub import hub_folder
from visunex.net.range_file import LocalFile, RangedFile, RemoteFile, Web

__all__ = ["opened_file"]


def opened_file(address: str) -> RangedFile:
    """The file at a path, or an https:// or hf://datasets/OWNER/NAME@REVISION/PATH address.

    Nothing of it is read yet. Raises FetchError for an address that means nothing.
    """
    if address.startswith("hf://"):
        folder = hub_folder(address)
        return RemoteFile(folder.url, _web(tuple(folder.headers.items()), folder.refused))
    if address.startswith(("https://", "http://")):
        return RemoteFile(address, _web((), None))
    return LocalFile(Path(address))


@functools.lru_cache(8)
def _web(headers: tuple[tuple[str, str], ...], refused: str | None) -> Web:
    return Web(dict(headers), refused)
