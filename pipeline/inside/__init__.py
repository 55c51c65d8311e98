"""Pictures inside files: where each lies, and copying those that are wanted out of tables, tars and zips.

A `Location` is a text that says in which file, here or behind an address, and where in it a picture lies.
`images_at` reads those of one file, `FileSpool` copies those of a download's candidates into one file. Reads
tables, tars, zips and single pictures; writes the spool. May import `images`, `net`, `recipes` and `shards`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .location import Location as Location
    from .opened import opened_file as opened_file
    from .reading import images_at as images_at
    from .spool import FileSpool as FileSpool
    from .spool import Spool as Spool

__all__ = ["FileSpool", "Location", "Spool", "images_at", "opened_file"]

__getattr__, __dir__ = public(
    __name__,
    {
        "FileSpool": "spool",
        "Location": "location",
        "Spool": "spool",
        "images_at": "reading",
        "opened_file": "opened",
    },
)
