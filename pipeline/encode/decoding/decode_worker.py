"""The process that decodes files into pixels: started by `decode_pool.py`, one for each of its workers.

It knows Pillow and numpy and not torch, so it starts in a fraction of a second. Pixels go back through memory
that both processes map; through the connection go only file names, offsets and reasons.
"""

import contextlib
import mmap
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, cast

import numpy as np

from visunex.base.machine import keep_memory
from visunex.clip.preprocess import Pixels, Preprocessing, Seen, seen_by
from visunex.images.errors import ImageError

from ...shards.samples import Sample

__all__ = ["CHUNK", "Wanted", "WorkerSettings", "read_image", "shared_file", "slots_in", "write_image"]

Wanted = tuple[int, ...]  # which of several ways to decode an image, by their places

CHUNK = 4  # images handed to a worker at once
_HEADER = 16  # bytes before an image's pixels: four int32
# The encoder's threads wait for the slowest of them, so on the cores they share decoding comes second; it
# gets on all the same while another program keeps the cores busy.
_NICENESS = 5


@dataclass(frozen=True)
class WorkerSettings:
    """In which ways images are decoded, and into how many `slots` of shared memory, of CHUNK images each."""

    preprocessings: tuple[Preprocessing, ...]
    slots: int

    @property
    def bytes_each(self) -> int:
        """Room for one image, in all ways."""
        return sum(_HEADER + each.most_bytes for each in self.preprocessings)

    def room(self, rooms: Pixels, way: int) -> Pixels:
        """Of the room for one image the part for what is decoded in one of the ways."""
        sizes = [_HEADER + each.most_bytes for each in self.preprocessings[: way + 1]]
        return rooms[sum(sizes[:-1]) : sum(sizes)]

    @property
    def bytes_in_all(self) -> int:
        """The size of the shared memory."""
        return self.slots * CHUNK * self.bytes_each


def shared_file(size: int) -> BinaryIO:
    """A nameless file of `size` bytes, in memory where the system can, that several processes may map.

    The room is there for sure: a page that is missing when it is written to would end the process by SIGBUS.
    Raises OSError where there is too little.
    """
    file = _nameless_file()
    try:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        file.close()
        raise
    return file


def _nameless_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # some sandboxes refuse it
            return cast(BinaryIO, os.fdopen(os.memfd_create("visunex-pixels"), "w+b"))
    return cast(BinaryIO, tempfile.TemporaryFile())


def slots_in(descriptor: int, settings: WorkerSettings) -> Pixels:
    """The shared memory of that descriptor as uint8 [slots, CHUNK, bytes of an image]."""
    memory = mmap.mmap(descriptor, settings.bytes_in_all)
    return np.frombuffer(memory, dtype=np.uint8).reshape(-1, CHUNK, settings.bytes_each)


def write_image(room: Pixels, seen: Seen) -> None:
    """Write height and width of the pixels, the width and height they are to have, then the pixels."""
    high, wide, _ = seen.pixels.shape
    room[:_HEADER].view(np.int32)[:] = high, wide, *seen.resized
    room[_HEADER : _HEADER + seen.pixels.size].reshape(seen.pixels.shape)[:] = seen.pixels


def read_image(room: Pixels) -> Seen:
    """What `write_image` wrote."""
    high, wide, *resized = room[:_HEADER].view(np.int32).tolist()
    pixels = room[_HEADER : _HEADER + high * wide * 3].reshape(high, wide, 3)
    return Seen(pixels.copy(), (resized[0], resized[1]))


def main() -> None:
    """Decode what comes until the connection ends: the parent needs this process no longer, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    keep_memory()
    descriptor, end = map(int, sys.argv[1:])
    connection: Connection[Any, Any] = Connection(end)
    try:
        settings: WorkerSettings = connection.recv()
        memory = slots_in(descriptor, settings)
        while True:
            slot, samples = connection.recv()
            began = time.process_time()
            reasons = [
                _decode_into(rooms, sample, wanted, settings)
                for rooms, (sample, wanted) in zip(memory[slot], samples, strict=False)
            ]
            connection.send((reasons, time.process_time() - began))
    except (EOFError, OSError):
        return


def _decode_into(rooms: Pixels, sample: Sample, wanted: Wanted, settings: WorkerSettings) -> list[str]:
    """For each way that is wanted why there are no pixels; empty where there are."""
    try:
        data = sample.read()
    except ImageError as error:
        return [error.kind] * len(wanted)
    reasons = []
    for way, seen in zip(
        wanted, seen_by(data, [settings.preprocessings[way] for way in wanted]), strict=True
    ):
        if isinstance(seen, Seen):
            write_image(settings.room(rooms, way), seen)
        reasons.append("" if isinstance(seen, Seen) else seen.kind)
    return reasons


if __name__ == "__main__":
    main()
