"""Recipes: TOML files that say how an aesthetic embedding is made.

Reads and writes `NAME.toml`; overrides come on top. Imports nothing of ours but `base`.
"""

from .describe import schema_table
from .load import dumps, find, load, names, override, renamed
from .overrides import Override, OverrideError, RecipeError
from .schema import Columns, Download, Encode, Filter, Generate, Recipe, Reference, Source, split_keywords

__all__ = [
    "Columns",
    "Download",
    "Encode",
    "Filter",
    "Generate",
    "Override",
    "OverrideError",
    "Recipe",
    "RecipeError",
    "Reference",
    "Source",
    "dumps",
    "find",
    "load",
    "names",
    "override",
    "renamed",
    "schema_table",
    "split_keywords",
]


def __dir__() -> list[str]:
    return sorted(__all__)
