"""From `vectors/` to `embedding.pt`, with checks and a provenance that say whether it can be trusted.

Reads a folder of vectors; writes `embedding.pt` and `embedding.json` of a run, or one file elsewhere. May
import `vectors`, `rundir` and below.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .checks import Checks as Checks
    from .checks import ReferenceCheck as ReferenceCheck
    from .checks import check as check
    from .embedding import EmbeddingReport as EmbeddingReport
    from .embedding import RecipeIdentity as RecipeIdentity
    from .embedding import provenance as provenance
    from .embedding import reduce_folder as reduce_folder
    from .embedding import save_embedding as save_embedding
    from .nearest_words import Word as Word

__all__ = [
    "Checks",
    "EmbeddingReport",
    "RecipeIdentity",
    "ReferenceCheck",
    "Word",
    "check",
    "provenance",
    "reduce_folder",
    "save_embedding",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "Checks": "checks",
        "EmbeddingReport": "embedding",
        "RecipeIdentity": "embedding",
        "ReferenceCheck": "checks",
        "Word": "nearest_words",
        "check": "checks",
        "provenance": "embedding",
        "reduce_folder": "embedding",
        "save_embedding": "embedding",
    },
)
