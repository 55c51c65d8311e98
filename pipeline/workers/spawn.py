"""Starting processes of ours on this machine, which they are connected with."""

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["module_command", "start_connected"]


def module_command(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours in a process of its own."""
    return (sys.executable, "-P", "-W", "ignore", "-m", module)


def start_connected(command: Sequence[str]) -> "tuple[subprocess.Popen[bytes], Connection[Any, Any]]":
    """Start `command` and give the process and our end of a connection to it.

    The descriptor of the other end is the command's last argument. It runs in a process group of its own, so
    that the terminal's Ctrl-C reaches only us.
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
