"""Several devices at work on one folder of vectors: a process for each, which takes every n-th partition.

The parts on disk are all that the processes share. So whatever a process leaves undone, however it ends, is
made up for by the caller's own pass over everything at the end.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from visunex.base.progress import Progress

from ..errors import EncodeError
from ..shards.samples import Source
from ..workers.spawn import beside, program

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder
    from visunex.recipes.schema import Encode

__all__ = [
    "WHOLE",
    "Counted",
    "Failed",
    "Finished",
    "Helpers",
    "Job",
    "Remaining",
    "Share",
    "Shown",
    "Untold",
]

_PROGRAM = program("visunex.pipeline.encode.device_worker")


class Shown(Protocol):
    """Whatever is told how far the work is: `Progress`, or what passes it on."""

    def advance(self, count: int) -> None:
        """Count pictures as done."""

    def skip(self, count: int) -> None:
        """Count pictures for which there is nothing to do."""


class Untold:
    """Progress that nobody is told of."""

    def advance(self, count: int) -> None:
        """Count nothing."""

    def skip(self, count: int) -> None:
        """Count nothing."""


class Remaining(Untold):
    """Progress of a second pass: what is done already was counted before."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def advance(self, count: int) -> None:
        """Count pictures as done."""
        self._progress.advance(count)


@dataclass(frozen=True)
class Share:
    """Every `of`-th partition, beginning with number `at`."""

    at: int = 0
    of: int = 1

    def holds(self, number: int) -> bool:
        """Whether the partition of this number, counted from 0, is in the share."""
        return number % self.of == self.at


WHOLE = Share()


@dataclass(frozen=True)
class Job:
    """What a helper is to do: its share of the partitions of `places`, on its device."""

    places: tuple[Source, ...]
    folder: Path
    settings: "Encode"
    device: str
    share: Share


@dataclass(frozen=True)
class Counted:
    """Pictures that a helper is done with, or that there was nothing to do for."""

    advanced: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Failed:
    """A helper ends with an error, in a sentence."""

    sentence: str


@dataclass(frozen=True)
class Finished:
    """A helper is through its share, for which it encoded `fresh` pictures."""

    fresh: int


class Helpers:
    """The processes for an encoder's other devices. They encode while the block runs, and end with it."""

    def __init__(
        self,
        places: Sequence[Source],
        folder: Path,
        encoder: "ImageEncoder",
        settings: "Encode",
        progress: Progress,
    ) -> None:
        like_ours = settings.model_copy(update={"precision": encoder.precision})
        self._jobs = [
            Job(tuple(places), folder, like_ours, device, Share(at, 1 + len(encoder.others)))
            for at, device in enumerate(encoder.others, start=1)
        ]
        self._progress = progress
        self._helpers: list[_Helper] = []

    @property
    def own_share(self) -> Share:
        """The share of the process that has the helpers."""
        return Share(0, 1 + len(self._jobs))

    def __enter__(self) -> Self:
        self._helpers = [_Helper(job, self._progress) for job in self._jobs]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for helper in self._helpers:
            helper.end()

    def wait(self) -> int:
        """Until all have ended; how many pictures they encoded.

        Raises EncodeError when one met an error; says when one was killed.
        """
        return sum(helper.wait() for helper in self._helpers)


class _Helper:
    def __init__(self, job: Job, progress: Progress) -> None:
        self._device, self._progress = job.device, progress
        self._last: Any = None
        self._process, self._connection = beside(_PROGRAM)
        self._listener = Thread(target=self._listen, args=(self._connection, job), daemon=True)
        self._listener.start()

    def _listen(self, connection: "Connection[Any, Any]", job: Job) -> None:
        try:
            connection.send(job)
            while not isinstance(self._last, Failed | Finished):
                self._last = connection.recv()
                if isinstance(self._last, Counted):
                    self._progress.skip(self._last.skipped)
                    self._progress.advance(self._last.advanced)
        except (EOFError, OSError):
            return  # it is gone; `wait` says so

    def wait(self) -> int:
        self._listener.join()
        match self._last:
            case Finished(fresh):
                return fresh
            case Failed(sentence):
                raise EncodeError(f"{self._device}: {sentence}")
        status = self._process.wait()
        print(
            f"encode: the process on {self._device} ended early (status {status}); its share is done here",
            file=sys.stderr,
        )
        return 0

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._connection.close()
