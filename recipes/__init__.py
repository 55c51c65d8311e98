"""Recipes: TOML files that say how an aesthetic embedding is made.

Reads and writes `NAME.toml`; overrides come on top. Imports nothing of ours but `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .describe import schema_table as schema_table
    from .files import dumps as dumps
    from .files import find as find
    from .files import load as load
    from .files import names as names
    from .files import override as override
    from .files import renamed as renamed
    from .overrides import Override as Override
    from .overrides import OverrideError as OverrideError
    from .overrides import RecipeError as RecipeError
    from .schema import Columns as Columns
    from .schema import Download as Download
    from .schema import Encode as Encode
    from .schema import Filter as Filter
    from .schema import Generate as Generate
    from .schema import Recipe as Recipe
    from .schema import Reference as Reference
    from .schema import Source as Source
    from .schema import split_keywords as split_keywords

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

__getattr__, __dir__ = public(
    __name__,
    {
        "Columns": "schema",
        "Download": "schema",
        "Encode": "schema",
        "Filter": "schema",
        "Generate": "schema",
        "Override": "overrides",
        "OverrideError": "overrides",
        "Recipe": "schema",
        "RecipeError": "overrides",
        "Reference": "schema",
        "Source": "schema",
        "dumps": "files",
        "find": "files",
        "load": "files",
        "names": "files",
        "override": "files",
        "renamed": "files",
        "schema_table": "describe",
        "split_keywords": "schema",
    },
)
