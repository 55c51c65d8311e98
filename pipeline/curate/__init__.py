"""Choosing among a run's pictures, and taking them out.

Reads a run's files, or any place with pictures; writes folders, tars and parquet files where it is told to,
and never into the run. Asked by commands, never by a stage.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .take_out import TakenOut as TakenOut
    from .take_out import take_out as take_out

__all__ = ["TakenOut", "take_out"]

__getattr__, __dir__ = public(__name__, dict.fromkeys(__all__, "take_out"))
