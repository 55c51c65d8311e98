"""Starting processes of ours on this machine, which they are connected with."""

import errno
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

__all__ = ["Started", "module_command", "start", "start_connected"]

Started: TypeAlias = "tuple[subprocess.Popen[bytes], Connection[Any, Any]]"

# What starting a program that is there may answer for a moment: no process, memory or file free just now,
# or, seen on Linux 6.18 in a process with many threads, an address that the kernel cannot read.
_PASSING = {errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EFAULT}
_PAUSES = (0.05, 0.2, 1.0)  # seconds before each further try


def module_command(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours in a process of its own."""
    return (sys.executable, "-P", "-W", "ignore", "-m", module)


def start(command: Sequence[str], **how: Any) -> "subprocess.Popen[bytes]":
    """Start `command` as `subprocess.Popen` does, again where the system could not for a moment.

    Raises OSError for what is not there or may not be run, and where the system cannot for over a second.
    """
    for pause in _PAUSES:
        if process := _started(command, how):
            return process
        time.sleep(pause)
    return subprocess.Popen(command, **how)  # noqa: S603 - our own commands


def _started(command: Sequence[str], how: dict[str, Any]) -> "subprocess.Popen[bytes] | None":
    """The process; None where the system cannot start one just now."""
    try:
        return subprocess.Popen(command, **how)  # noqa: S603
    except OSError as error:
        if error.errno not in _PASSING:
            raise
        return None


def start_connected(command: Sequence[str], *, shared: Sequence[int] = ()) -> Started:
    """Start `command` and give the process and our end of a connection to it.

    The command's last arguments are the descriptors of open files that are `shared` with it, then that of its
    end of the connection. It runs in a process group of its own, so that the terminal's Ctrl-C reaches only
    us.
    """
    ours, theirs = multiprocessing.Pipe()
    descriptors = [*shared, theirs.fileno()]
    process = start(
        [*command, *map(str, descriptors)],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    theirs.close()
    return process, ours
