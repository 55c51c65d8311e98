"""Choosing among a run's pictures, and taking them out.

Reads a run's files, or any place with pictures; writes embeddings, folders, tars and parquet files where it
is told to, and never into the run. Asked by commands, never by a stage.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .curation import Curated as Curated
    from .curation import Dropping as Dropping
    from .curation import curate as curate
    from .rank import Ranking as Ranking
    from .rank import rank as rank
    from .take_out import TakenOut as TakenOut
    from .take_out import take_out as take_out

__all__ = ["Curated", "Dropping", "Ranking", "TakenOut", "curate", "rank", "take_out"]

__getattr__, __dir__ = public(
    __name__,
    {
        **dict.fromkeys(("Ranking", "rank"), "rank"),
        **dict.fromkeys(("TakenOut", "take_out"), "take_out"),
        **dict.fromkeys(("Curated", "Dropping", "curate"), "curation"),
    },
)
