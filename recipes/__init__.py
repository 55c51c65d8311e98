"""Recipes: TOML files that say how an aesthetic embedding is made.

Reads and writes `NAME.toml`; overrides come on top. Imports nothing of ours but `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .choice import Filter as Filter
    from .choice import split_keywords as split_keywords
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
    from .schema import Download as Download
    from .schema import Encode as Encode
    from .schema import Engine as Engine
    from .schema import Recipe as Recipe
    from .section import Generate as Generate
    from .section import Reference as Reference
    from .source import Columns as Columns
    from .source import Source as Source

__all__ = [
    "Columns",
    "Download",
    "Encode",
    "Engine",
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
        "Columns": "source",
        "Download": "schema",
        "Encode": "schema",
        "Engine": "schema",
        "Filter": "choice",
        "Generate": "section",
        "Override": "overrides",
        "OverrideError": "overrides",
        "Recipe": "schema",
        "RecipeError": "overrides",
        "Reference": "section",
        "Source": "source",
        "dumps": "files",
        "find": "files",
        "load": "files",
        "names": "files",
        "override": "files",
        "renamed": "files",
        "schema_table": "describe",
        "split_keywords": "choice",
    },
)
