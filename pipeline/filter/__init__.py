"""The stage filter: metadata becomes `selected.parquet`, the best rows first, and `recipe.toml`.

`stage` is the entry; `conditions` and `keywords` make a recipe's conditions, `scan` reads the rows through
them (by one of `strategies`), `top_rows` keeps the best, `clip_query` says what pictures shall look like.
May import `vectors`, `metadata`, `rundir` and below; never another stage.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .report import FilterReport as FilterReport
    from .stage import filter_rows as filter_rows

__all__ = ["FilterReport", "filter_rows"]

__getattr__, __dir__ = public(__name__, {"FilterReport": "report", "filter_rows": "stage"})
