"""Where processes of ours run that do a stage's work: on this machine, or on the nodes of a Ray cluster.

A worker is a module of ours that is run in a process of its own and talks by messages. A stage asks an
`Executor` for workers, and need not know where they are.
"""

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from .spawn import module_command, start_connected

if TYPE_CHECKING:
    from visunex.recipes import Engine

__all__ = ["LOCAL", "Done", "Executor", "LocalExecutor", "Worker", "executor_of", "lines_of_nodes"]

Done: TypeAlias = dict[str, dict[str, int]]  # by node: shards or pictures made, and processes lost

W = TypeVar("W", bound="Worker")


class Worker(Protocol):
    """A process at work, wherever it is. It ends when nobody is connected with it any more."""

    @property
    def where(self) -> str:
        """The machine that it is on; empty for this one."""

    @property
    def may_not_start(self) -> bool:
        """Whether it may wait for long for a place to run: until it runs nothing is to depend on it."""

    @property
    def node_is_lost(self) -> bool:
        """Whether it ended with the machine that it was on, which is no fault of its work."""

    def send(self, message: object) -> None:
        """Send it a message. Raises OSError where that is known to be gone."""

    def receive(self) -> Any:
        """Wait for its next message. Raises EOFError or OSError when it is gone."""

    def wait(self, seconds: float) -> str:
        """Give it some time to end by itself; how it ended, as far as that can be said."""

    def kill(self) -> None:
        """End it, whatever it is doing."""

    def close(self) -> None:
        """Give up the connection with it, which nobody may be reading from."""


class Executor(Protocol):
    """What starts workers and says which have something to say."""

    @property
    def done(self) -> Done:
        """What workers that encoded did, by node; on this machine alone nothing."""

    def start(self, module: str, *, encodes: bool = False) -> Worker:
        """Start a module of ours as a worker; one that `encodes` has a device of its own."""

    def ready(self, workers: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Those of our workers whose next message, or end, can be received at once; waits for one so long."""

    def workers(self, asked: int, most: int) -> int:
        """How many workers are to fetch: `asked` for here, and never more than `most`."""

    def encoders(self, others: Sequence[str]) -> tuple[Sequence[str], bool]:
        """The devices of workers that encode, and whether this process does too; `others` are those here."""

    def require(self, folder: Path) -> None:
        """Raise PipelineError where workers could not work on a folder of this machine's."""


class LocalWorker:
    """A process on this machine."""

    where, may_not_start, node_is_lost = "", False, False

    def __init__(self, process: "subprocess.Popen[bytes]", connection: "Connection[Any, Any]") -> None:
        self.process, self.connection = process, connection
        self.pid = process.pid

    def send(self, message: object) -> None:
        """Send it a message. Raises OSError when it is gone."""
        self.connection.send(message)

    def receive(self) -> Any:
        """Wait for its next message. Raises EOFError or OSError when it is gone."""
        return self.connection.recv()

    def wait(self, seconds: float) -> str:
        """Give it some time to end by itself; its exit status."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=seconds)
        return f"status {self.process.poll()}"

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Give up the connection with it, which nobody may be reading from."""
        self.connection.close()


class LocalExecutor:
    """Workers are processes on this machine."""

    @property
    def done(self) -> Done:
        """Nothing: there are no nodes."""
        return {}

    def start(self, module: str, *, encodes: bool = False) -> Worker:
        """Start a module of ours as a worker."""
        return LocalWorker(*start_connected(module_command(module)))

    def ready(self, workers: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Those whose next message, or end, can be received at once; waits for one so long."""
        by_connection = {worker.connection: worker for worker in workers}
        return [by_connection[each] for each in wait(list(by_connection), seconds)]

    def workers(self, asked: int, most: int) -> int:
        """As many as are asked for: a host's connections are divided among them, one each at least."""
        return asked

    def encoders(self, others: Sequence[str]) -> tuple[Sequence[str], bool]:
        """The other devices of this machine, beside this process."""
        return others, True

    def require(self, folder: Path) -> None:
        """Whatever is here can be worked on."""


LOCAL = LocalExecutor()


def executor_of(engine: "Engine") -> Executor:
    """The executor that a recipe's section `engine` asks for. Raises PipelineError."""
    if engine.name == "local":
        return LOCAL
    from .on_ray import RayExecutor

    return RayExecutor(engine)


def lines_of_nodes(nodes: Done) -> list[str]:
    """For a person, what each node of a cluster did: so many `shards` or `pictures`, and processes `lost`."""
    return [f"  on {node}: {_in_words(done)}" for node, done in nodes.items()]


def _in_words(done: Mapping[str, int]) -> str:
    made = [f"{count} {what}" for what, count in done.items() if what != "lost"]
    return ", ".join(made or ["nothing finished"]) + (
        f", and lost {lost} times" if (lost := done.get("lost")) else ""
    )
