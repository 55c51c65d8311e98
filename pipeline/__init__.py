"""`visunex-data`: metadata -> images -> CLIP vectors -> one aesthetic embedding.

From Python: a function for each stage and one for all of them, which take a recipe or its keys and a folder.
Reads metadata and pictures, writes a run folder. May import everything below `generate`.

    from visunex.pipeline import filter_metadata, download_images, encode_images
    filter_metadata("m.parquet", run="runs/x", keywords=["flower"], top=200)
    download_images("runs/x")
    print(encode_images(run="runs/x").as_text())
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .api import curate_run as curate_run
    from .api import download_images as download_images
    from .api import encode_images as encode_images
    from .api import filter_metadata as filter_metadata
    from .api import run_recipe as run_recipe
    from .api import take_out_images as take_out_images

__all__ = [
    "curate_run",
    "download_images",
    "encode_images",
    "filter_metadata",
    "run_recipe",
    "take_out_images",
]

__getattr__, __dir__ = public(__name__, dict.fromkeys(__all__, "api"))
