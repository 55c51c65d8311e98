"""Image vectors in clip-retrieval's layout: our own on disk, and published ones wherever they lie.

Reads and writes folders with `img_emb/img_emb_N.npy` beside `metadata/metadata_N.parquet`; of folders behind
an address only what is asked for is read. May import `metadata`, `shards` and below.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .lookup import look_up as look_up
    from .lookup import read_rows as read_rows
    from .remote_store import open_folder as open_folder
    from .store import VectorFolder as VectorFolder
    from .store import is_vector_folder as is_vector_folder
    from .store import read_vectors as read_vectors
    from .store import write_part as write_part

__all__ = [
    "VectorFolder",
    "is_vector_folder",
    "look_up",
    "open_folder",
    "read_rows",
    "read_vectors",
    "write_part",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "VectorFolder": "store",
        "is_vector_folder": "store",
        "look_up": "lookup",
        "open_folder": "remote_store",
        "read_rows": "lookup",
        "read_vectors": "store",
        "write_part": "store",
    },
)
