"""The guarded web: whatever is fetched is fetched through here, with a budget of seconds and bytes.

Reads http(s) and the Hub: pictures at public addresses, what a person named also on a private network; writes
nothing. `Client` opens an answer; `Fetcher` (pictures), `opened_stream` (files of any size), `RemoteFile`
(parts of files), `get` and `get_bytes` (small answers) are its uses. Raises FetchError. May import `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .client import Client as Client
    from .client import ClientSettings as ClientSettings
    from .errors import FetchError as FetchError
    from .fetcher import Fetcher as Fetcher
    from .fetcher import FetchSettings as FetchSettings
    from .probe import get as get
    from .probe import get_bytes as get_bytes
    from .range_file import RemoteFile as RemoteFile
    from .stream import opened_stream as opened_stream

__all__ = [
    "Client",
    "ClientSettings",
    "FetchError",
    "FetchSettings",
    "Fetcher",
    "RemoteFile",
    "get",
    "get_bytes",
    "opened_stream",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "Client": "client",
        "ClientSettings": "client",
        "FetchError": "errors",
        "FetchSettings": "fetcher",
        "Fetcher": "fetcher",
        "RemoteFile": "range_file",
        "get": "probe",
        "get_bytes": "probe",
        "opened_stream": "stream",
    },
)
