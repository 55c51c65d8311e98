"""Starting processes of ours on this machine, which they are connected with."""

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

__all__ = ["Started", "module_command", "start_connected"]

Started: TypeAlias = "tuple[subprocess.Popen[bytes], Connection[Any, Any]]"


def module_command(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours in a process of its own."""
    return (sys.executable, "-P", "-W", "ignore", "-m", module)


def start_connected(command: Sequence[str], *, shared: Sequence[int] = ()) -> Started:
    """Start `command` and give the process and our end of a connection to it.

    The command's last arguments are the descriptors of open files that are `shared` with it, then that of its
    end of the connection. It runs in a process group of its own, so that the terminal's Ctrl-C reaches only
    us.
    """
    ours, theirs = multiprocessing.Pipe()
    descriptors = [*shared, theirs.fileno()]
    process = subprocess.Popen(  # noqa: S603
        [*command, *map(str, descriptors)],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    theirs.close()
    return process, ours
