"""The data sets that a recipe can name: what each is, where it lies, and what is taken where it is gone.

`sets.toml` says it, `entries` reads it, `origin` finds the first of a set's places that
can be read, `page` says it all for a person.
Reads its own list; writes nothing. May import of the pipeline nothing but `errors`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .entries import DataSet as DataSet
    from .entries import data_set as data_set
    from .entries import data_sets as data_sets
    from .origin import Origin as Origin
    from .origin import first_found as first_found

__all__ = ["DataSet", "Origin", "data_set", "data_sets", "first_found"]

__getattr__, __dir__ = public(
    __name__,
    {
        "DataSet": "entries",
        "Origin": "origin",
        "data_set": "entries",
        "data_sets": "entries",
        "first_found": "origin",
    },
)
