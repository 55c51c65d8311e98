"""Images in shards, tars, zips, parquet files and folders as `Sample`s, in an order that never changes.

Reads what img2dataset and WebDataset write, tars that nobody vouches for, and folders of images; writes
nothing but what is kept of a shard whose images are discarded. May import `images` and below.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .discard import discard_images as discard_images
    from .members import LeftOut as LeftOut
    from .samples import Partition as Partition
    from .samples import Sample as Sample
    from .samples import Source as Source
    from .samples import partitions as partitions
    from .samples import run_sources as run_sources
    from .samples import sources as sources

__all__ = [
    "LeftOut",
    "Partition",
    "Sample",
    "Source",
    "discard_images",
    "partitions",
    "run_sources",
    "sources",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "LeftOut": "members",
        "Partition": "samples",
        "Sample": "samples",
        "Source": "samples",
        "discard_images": "discard",
        "partitions": "samples",
        "run_sources": "samples",
        "sources": "samples",
    },
)
