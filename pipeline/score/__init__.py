"""Aesthetic scores of image vectors, by published predictors that are known by name.

Reads vectors; writes nothing. May import `vectors`, `clip` and below.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .catalog import Predictor as Predictor
    from .catalog import named as named
    from .catalog import predictors as predictors
    from .folder import Scores as Scores
    from .folder import score_folder as score_folder
    from .head import Head as Head
    from .published import load as load

__all__ = ["Head", "Predictor", "Scores", "load", "named", "predictors", "score_folder"]

__getattr__, __dir__ = public(
    __name__,
    {
        "Head": "head",
        "Predictor": "catalog",
        "Scores": "folder",
        "load": "published",
        "named": "catalog",
        "predictors": "catalog",
        "score_folder": "folder",
    },
)
