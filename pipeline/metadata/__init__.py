"""Where a data set's metadata lies and what its columns mean.

`resolve` finds the files of a name (in `catalog`), a path or an address (`locate`), `table` opens them as one
table, whose `columns` have roles; what is not parquet is converted first (`convert`, `formats`).
Reads any metadata; writes converted copies beside the run. May import `net`, `recipes` and `base`, and of the
pipeline nothing but `errors`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .catalog import DataSet as DataSet
    from .catalog import data_sets as data_sets
    from .resolve import ResolvedSource as ResolvedSource
    from .resolve import resolve_source as resolve_source
    from .table import Table as Table
    from .table import open_table as open_table

__all__ = ["DataSet", "ResolvedSource", "Table", "data_sets", "open_table", "resolve_source"]

__getattr__, __dir__ = public(
    __name__,
    {
        "DataSet": "catalog",
        "ResolvedSource": "resolve",
        "Table": "table",
        "data_sets": "catalog",
        "open_table": "table",
        "resolve_source": "resolve",
    },
)
