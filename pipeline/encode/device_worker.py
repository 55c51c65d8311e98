"""The process that encodes its part of the images on a device of its own.

Started by `multi_device.py` as `python -m visunex.pipeline.encode.device_worker FD`. It ends with the process
at the other end of the socket, which hears of every batch.
"""

import os
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from visunex.base.errors import VisunexError

from .counts import OutcomeCounts
from .encoders import Target, load_encoder, shares_memory
from .multi_device import Counted, Failed, Finished, Job
from .partition_encoder import PartitionEncoder


class _Relay:
    """Progress that is shown by the process at the other end."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection

    def advance(self, count: int = 1) -> None:
        """Count `count` more images as done."""
        self._connection.send(Counted(advanced=count))

    def skip(self, count: int) -> None:
        """Expect `count` images fewer."""
        self._connection.send(Counted(skipped=count))


def main() -> None:
    """Do the one job that comes; say how far it is, and how it ended."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    job: Job = connection.recv()
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    try:
        with shares_memory(len(job.folders)):
            encoded_now = _encode(job, _Relay(connection))
    except VisunexError as error:
        connection.send(Failed(str(error)))
    else:
        connection.send(Finished(encoded_now))


def _encode(job: Job, progress: _Relay) -> int:
    """Do a job; how many images were encoded."""
    targets = [
        Target(load_encoder(settings, job.device), folder, settings)
        for folder, settings in zip(job.folders, job.settings, strict=True)
    ]
    with PartitionEncoder(targets, job.rank.world_size) as parts:
        parts.first = job.first
        return parts.encode(job.places, [OutcomeCounts() for _ in targets], progress, job.rank)


def _end_with(connection: "Connection[Any, Any]") -> None:
    """End at once when the other end does: whoever holds the run next must not find us writing to it."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main()
