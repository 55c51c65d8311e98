"""Processes of ours beside this one, here or on a cluster: starting them, and being connected with them.

Reads and writes no files but one by which nodes are asked whether they see a folder. May import `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .executor import LOCAL as LOCAL
    from .executor import Executor as Executor
    from .executor import executor_of as executor_of
    from .spawn import module_command as module_command
    from .spawn import start as start
    from .spawn import start_connected as start_connected

_EXECUTOR = ("LOCAL", "Executor", "executor_of")
__all__ = ["LOCAL", "Executor", "executor_of", "module_command", "start", "start_connected"]

__getattr__, __dir__ = public(
    __name__, {name: "executor" if name in _EXECUTOR else "spawn" for name in __all__}
)
