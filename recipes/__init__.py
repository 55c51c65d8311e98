"""Recipes: TOML files that say how an aesthetic embedding is made. Imports nothing of ours but `base`."""

from .load import RecipeError, dumps, find, load, names, override
from .schema import (
    Columns,
    Download,
    Encode,
    Filter,
    Generate,
    Recipe,
    Reference,
    Source,
)

__all__ = [
    "Columns",
    "Download",
    "Encode",
    "Filter",
    "Generate",
    "Recipe",
    "RecipeError",
    "Reference",
    "Source",
    "dumps",
    "find",
    "load",
    "names",
    "override",
]
