"""The stage download: `selected.parquet` becomes shards of images and `downloaded.parquet`.

Worker processes fetch; img2dataset lays out and writes. May import `metadata`, `rundir`, `shards`,
`vectors`, `workers` and below; never another stage.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .report import DownloadReport as DownloadReport
    from .stage import begin_download as begin_download
    from .stage import download as download

__all__ = ["DownloadReport", "begin_download", "download"]

__getattr__, __dir__ = public(
    __name__, {"DownloadReport": "report", "begin_download": "stage", "download": "stage"}
)
