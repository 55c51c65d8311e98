"""Starting processes of ours beside this one, which they are connected with."""

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["beside", "program"]


def program(module: str) -> tuple[str, ...]:
    """What runs a module of ours in a process of its own."""
    return (sys.executable, "-P", "-W", "ignore", "-m", module)


def beside(command: Sequence[str]) -> "tuple[subprocess.Popen[bytes], Connection[Any, Any]]":
    """Start `command`, with the descriptor of its end of a connection as its last argument; our end of it.

    In a process group of its own, so that the terminal's Ctrl-C reaches only the command itself.
    """
    ours, theirs = multiprocessing.Pipe()
    process = subprocess.Popen(  # noqa: S603
        [*command, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    theirs.close()
    return process, ours
