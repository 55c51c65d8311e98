"""Processes that are started beside this one hear from it, answer, and are in a group of their own."""

import errno
import os
import subprocess
import sys
from typing import Any

import pytest

from visunex.pipeline.workers import module_command, start, start_connected

ECHO = """
import os, sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
connection.send((connection.recv(), os.getpgid(0)))
try:
    connection.recv()
except EOFError:
    sys.exit(3)
"""


def test_a_process_answers_and_notices_the_end_of_its_connection() -> None:
    process, connection = start_connected((sys.executable, "-c", ECHO))
    connection.send("hello")
    answer, group = connection.recv()
    assert (answer, group) == ("hello", process.pid)
    assert group != os.getpgid(0)
    connection.close()
    assert process.wait(timeout=30) == 3


def test_a_module_is_run_by_this_python_and_not_found_in_the_working_folder() -> None:
    command = module_command("visunex.pipeline.download.worker")
    assert command[0] == sys.executable
    assert command[-2:] == ("-m", "visunex.pipeline.download.worker")
    assert "-P" in command


def failing(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> list[object]:
    """Make the system answer `number` to the next `times` starts; the commands of all of them."""
    asked: list[object] = []
    real = subprocess.Popen

    def popen(command: Any, **how: Any) -> Any:
        asked.append(command)
        if len(asked) <= times:
            raise OSError(number, os.strerror(number), command[0])
        return real(command, **how)

    monkeypatch.setattr("visunex.pipeline.workers.spawn.subprocess.Popen", popen)
    monkeypatch.setattr("visunex.pipeline.workers.spawn._PAUSES", (0, 0, 0))
    return asked


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EFAULT])
def test_a_start_that_the_system_refuses_for_a_moment_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = failing(monkeypatch, number, times=3)
    process = start((sys.executable, "-c", "raise SystemExit(5)"))
    assert process.wait(timeout=30) == 5
    assert len(asked) == 4


@pytest.mark.parametrize(("number", "tries"), [(errno.EACCES, 1), (errno.EAGAIN, 4)])
def test_a_start_that_fails_for_good_is_the_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, number: int, tries: int
) -> None:
    asked = failing(monkeypatch, number, times=9)
    with pytest.raises(OSError, match="python") as raised:
        start((sys.executable, "-c", "pass"))
    assert (raised.value.errno, len(asked)) == (number, tries)
