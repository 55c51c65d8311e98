"""Several devices at work on one folder of vectors: a process for each, which takes every n-th partition.

The parts on disk are all that the processes share. So whatever a process leaves undone, however it ends, is
made up for by the caller's own pass over everything at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from visunex.base.progress import NoProgress, ProgressLike
from visunex.base.text import printable

from ..errors import EncodeError
from ..shards.samples import Source
from ..workers.executor import LOCAL, Done, Executor

if TYPE_CHECKING:
    from visunex.recipes.schema import Encode

    from .encoders import Target

__all__ = ["ALONE", "ROUNDS", "Counted", "DeviceWorkers", "Failed", "Finished", "Job", "Rank", "Remaining"]

ROUNDS = 3  # in which what lost nodes have left is dealt out to those that are there
_ENDS = 5.0  # seconds for a process that is not heard of to be gone
_PROGRAM = "visunex.pipeline.encode.device_worker"


class Remaining(NoProgress):
    """Progress of a second pass over the same images: what needs no work was counted in the first."""

    def __init__(self, progress: ProgressLike) -> None:
        self._progress = progress

    def advance(self, count: int = 1) -> None:
        """Count `count` more images as done."""
        self._progress.advance(count)


@dataclass(frozen=True)
class Rank:
    """Which one of `world_size` processes a process is: the one that takes each partition of its `rank`."""

    rank: int = 0
    world_size: int = 1

    def takes(self, number: int) -> bool:
        """Whether the partition of this number, counted from 0, is this process's."""
        return number % self.world_size == self.rank


ALONE = Rank()


@dataclass(frozen=True)
class Job:
    """What a worker is to do: the partitions of `places` that its rank takes, on its device.

    For each encoder there are a folder and settings that name it. `first` is the number of the first
    partition's part.
    """

    places: tuple[Source, ...]
    folders: tuple[Path, ...]
    settings: "tuple[Encode, ...]"
    device: str
    rank: Rank
    first: int = 0


@dataclass(frozen=True)
class Counted:
    """Images that a worker is done with, or that needed no work."""

    advanced: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Failed:
    """A worker's last message: it ends with an error, in a sentence."""

    sentence: str


@dataclass(frozen=True)
class Finished:
    """A worker's last message: it is done, and encoded so many images now."""

    encoded_now: int


class DeviceWorkers:
    """The processes for the devices that an executor has. They encode while the block runs, and end with it.

    `helps` says whether the process that started them takes a share too.
    """

    def __init__(
        self,
        places: Sequence[Source],
        targets: "Sequence[Target]",
        progress: ProgressLike,
        first: int = 0,
        executor: Executor = LOCAL,
    ) -> None:
        like_ours = tuple(
            each.settings.model_copy(update={"precision": each.encoder.precision}) for each in targets
        )
        folders = tuple(each.folder for each in targets)
        devices, self.helps = executor.encoders(targets[0].encoder.others)
        self._world_size = self.helps + len(devices)
        self._jobs = [
            Job(tuple(places), folders, like_ours, device, Rank(rank, self._world_size), first)
            for rank, device in enumerate(devices, start=self.helps)
        ]
        self._progress, self._executor = progress, executor
        self._workers: list[_DeviceWorker] = []

    @property
    def own_rank(self) -> Rank:
        """The rank of the process that started the workers."""
        return Rank(0, self._world_size)

    def __enter__(self) -> Self:
        self._workers = [_DeviceWorker(job, self._progress, self._executor) for job in self._jobs]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()

    def wait(self) -> int:
        """Wait until all have ended; how many images they encoded.

        Raises EncodeError when one met an error; says when one was killed. What the nodes of a cluster
        did is counted in the executor's `done`.
        """
        return sum(worker.wait(self._executor.done) for worker in self._workers)


class _DeviceWorker:
    """A process at work on its job, and the thread that listens to it."""

    def __init__(self, job: Job, progress: ProgressLike, executor: Executor) -> None:
        self._device, self._progress = job.device, progress
        self._last: Any = None  # its last message so far
        self._worker = executor.start(_PROGRAM, encodes=True)
        self._listener = Thread(target=self._listen, args=(job,), daemon=True)
        self._listener.start()

    def _listen(self, job: Job) -> None:
        try:
            self._worker.send(job)
            while not isinstance(self._last, Failed | Finished):
                self._last = self._worker.receive()
                if isinstance(self._last, Counted):
                    self._progress.skip(self._last.skipped)
                    self._progress.advance(self._last.advanced)
        except (EOFError, OSError):
            return  # it is gone; `wait` says so

    def wait(self, done: Done) -> int:
        """Wait until it has ended; how many images it encoded, which is counted for its node in `done`."""
        self._listener.join()
        node = self._worker.where
        counted = done.setdefault(node, {}) if node else {}
        match self._last:
            case Finished(encoded_now):
                counted["pictures"] = counted.get("pictures", 0) + encoded_now
                return encoded_now
            case Failed(sentence):
                raise EncodeError(f"{self._device}: {sentence}")
        counted["lost"] = counted.get("lost", 0) + 1
        where, who = (f"{self._device} of {node}", "by others") if node else (self._device, "here")
        ended = f"the process on {where} ended early ({self._worker.wait(_ENDS)}); its share is done {who}"
        click.echo(printable(f"encode: {ended}"), err=True)
        return 0

    def end(self) -> None:
        """End it, whatever it is doing."""
        self._worker.kill()
        self._listener.join()
        self._worker.close()
