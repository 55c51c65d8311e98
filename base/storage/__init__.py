"""Folders in object stores: their files read and written, leases on them, and working copies of them here.

Reads and writes what its caller names, and working copies in the cache folder. Imports `base`; fsspec and a
store's own client (s3fs for `s3://`) are loaded when an address asks for them.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .addresses import is_address as is_address
    from .addresses import is_stored as is_stored
    from .addresses import restored as restored
    from .addresses import shown as shown
    from .addresses import working_folder as working_folder
    from .copies import WorkingCopy as WorkingCopy
    from .copies import working_copy as working_copy
    from .inputs import stored_input as stored_input
    from .lease import Lease as Lease
    from .lease import LeaseError as LeaseError
    from .outputs import stored_output as stored_output
    from .sending import Sender as Sender
    from .store import PATIENCE as PATIENCE
    from .store import StorageError as StorageError
    from .store import Store as Store

_HOMES = {
    "PATIENCE": "store",
    "Lease": "lease",
    "LeaseError": "lease",
    "Sender": "sending",
    "StorageError": "store",
    "Store": "store",
    "WorkingCopy": "copies",
    "is_address": "addresses",
    "is_stored": "addresses",
    "restored": "addresses",
    "shown": "addresses",
    "stored_input": "inputs",
    "stored_output": "outputs",
    "working_copy": "copies",
    "working_folder": "addresses",
}
__all__ = list(_HOMES)

__getattr__, __dir__ = public(__name__, _HOMES)
