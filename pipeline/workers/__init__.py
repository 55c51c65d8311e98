"""Processes of ours beside this one: starting them, and being connected with them.

Reads and writes no files. May import `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .spawn import module_command as module_command
    from .spawn import start as start
    from .spawn import start_connected as start_connected

__all__ = ["module_command", "start", "start_connected"]

__getattr__, __dir__ = public(__name__, dict.fromkeys(__all__, "spawn"))
