"""Recipes: TOML files that say how an aesthetic embedding is made. Imports nothing of ours but `base`."""

from .describe import schema_table
from .load import OverrideError, RecipeError, dumps, find, load, names, override
from .schema import Columns, Download, Encode, Filter, Generate, Recipe, Reference, Source, split_keywords

__all__ = [
    "Columns",
    "Download",
    "Encode",
    "Filter",
    "Generate",
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
    "schema_table",
    "split_keywords",
]
