"""Processes that are started beside this one hear from it, answer, and are in a group of their own."""

import os
import sys

from visunex.pipeline.workers import module_command, start_connected

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
