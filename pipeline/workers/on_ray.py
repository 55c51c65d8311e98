"""Workers on the nodes of a Ray cluster: an actor for each, which runs the process and passes on messages.

Ray finds a place for an actor, and says when its node is gone. What pictures and vectors become lies in the
run's folder, which all nodes must see; only messages go through Ray.
"""

import contextlib
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.errors import first_line
from visunex.base.files import fingerprint, sha256_file

from ..errors import PipelineError, UsageError
from .executor import Done, Worker
from .spawn import module_command, start_connected

if TYPE_CHECKING:
    from visunex.recipes import Engine

__all__ = ["RayExecutor"]

_PORT = 6379  # of a cluster's head, by Ray's own habit
_LOOK = 1.0  # seconds for which an actor waits for something to pass on
_HEAD_ANSWERS = 10.0  # seconds
_STARTS = 120.0  # seconds in which an actor that encodes must have found a place
_MISSED = 10.0  # seconds for a node to be found gone whose actor does not answer
_DIES = 5.0  # seconds for a process to be ended on its node
_NODE_ANSWERS = 120.0  # seconds in which each node must say what it is
_SEEN = ".visunex"
_SHOWN = 6  # characters of a node's id by which it is told from others of its name


class _Relay:
    """An actor on a node: a process of ours, and the messages to and from it. Ray runs this class."""

    def __init__(self, module: str) -> None:
        self._process, self._connection = start_connected(module_command(module))

    def where(self) -> str:
        """The node's name."""
        return _node_name()

    def send(self, message: object) -> None:
        """Pass on a message; a process that is gone is said by `receive`."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def receive(self) -> list[object] | None:
        """What the process has said since the last call, after a while at most; None when it is gone."""
        found: list[object] = []
        try:
            while self._connection.poll(0 if found else _LOOK):
                found.append(self._connection.recv())
        except (EOFError, OSError):
            return found or None
        return found

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


class RayWorker:
    """A process on a node, by way of its actor."""

    may_not_start = True

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._where = actor.where.remote()
        self._said: deque[object] = deque()
        self._end = ""  # why there is no more to come
        self.next = actor.receive.remote()

    @property
    def where(self) -> str:
        """The node that it is on."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            return str(ray.get(self._where, timeout=_LOOK))
        return "a node that is gone"

    @property
    def node_is_lost(self) -> bool:
        """Whether it ended with its node, which is waited for: processes end before their node is missed."""
        import ray

        with contextlib.suppress(Exception):  # the cluster may be gone with it
            if not self._end or not (where := self.where).endswith(")"):
                return False
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self._actor.where.remote(), timeout=_LOOK)
                return False
            until = time.monotonic() + _MISSED
            while is_there := any(where.endswith(f"({node['NodeID'][:_SHOWN]})") for node in _nodes()):
                if time.monotonic() > until:
                    break
                time.sleep(_LOOK)
            return not is_there
        return False

    @property
    def has_said(self) -> bool:
        """Whether a message, or its end, is here already."""
        return bool(self._said or self._end)

    def take(self, seconds: float = _STARTS) -> None:
        """Take up what it has said meanwhile, which may be nothing; waits for that so long."""
        import ray

        try:
            found = ray.get(self.next, timeout=seconds)
        except ray.exceptions.GetTimeoutError:
            # Of one that was waited for only a moment nothing is known yet.
            begun = seconds < _STARTS or ray.wait([self._where], timeout=0)[0]
            if not begun:
                self._end = "no node has had room for it"
        except ray.exceptions.RayError as error:
            self._end = first_line(error)
        else:
            self._said.extend(found or ())
            if found is None:
                self._end = "the process is gone"
            else:
                self.next = self._actor.receive.remote()

    def send(self, message: object) -> None:
        """Send it a message; whether it is gone is said by `receive`."""
        self._actor.send.remote(message)

    def receive(self) -> Any:
        """Wait for its next message. Raises EOFError when it, its actor or its node is gone."""
        while not self._said:
            if self._end:
                raise EOFError(self._end)
            self.take()
        return self._said.popleft()

    def wait(self, seconds: float) -> str:
        """Give it some time to end by itself; how it ended, as far as that can be said."""
        until = time.monotonic() + seconds
        while not self._end and (left := until - time.monotonic()) > 0:
            self.take(left)
        return self._end or "at work still"

    def kill(self) -> None:
        """End it, whatever it is doing: its process ends with the actor, if not before."""
        import ray

        with contextlib.suppress(Exception):  # the cluster may be gone with it
            if not self._end:
                ray.get(self._actor.kill.remote(), timeout=_DIES)
        with contextlib.suppress(Exception):
            ray.kill(self._actor)

    def close(self) -> None:
        """There is nothing to close."""


class RayExecutor:
    """Workers are processes on the nodes of the cluster that a recipe's `engine` names."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.done: Done = {}
        _connect(engine.address)

    def start(self, module: str, *, encodes: bool = False) -> Worker:
        """Start a module of ours as a worker, on whichever node has room for it."""
        import ray

        to, from_ = ray.method(concurrency_group="to"), ray.method(concurrency_group="from")
        body = {"send": to(_Relay.send), "receive": from_(_Relay.receive)}  # each in the order of its calls
        asked = self._engine
        actor = ray.remote(
            num_cpus=asked.encoder_cpus if encodes else asked.worker_cpus,
            num_gpus=asked.encoder_gpus if encodes else 0,
            concurrency_groups={"to": 1, "from": 1},
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(type("VisunexWorker", (_Relay,), body))
        return RayWorker(actor.remote(module))

    def ready(self, workers: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Those whose next message, or end, can be received at once; waits for one so long."""
        import ray

        if here := [worker for worker in workers if worker.has_said]:
            return here
        by_next = {worker.next: worker for worker in workers}
        found, _ = ray.wait(list(by_next), timeout=seconds)
        for each in found:  # one that is idle has said nothing: waiting for it would keep the others waiting
            by_next[each].take()
        return [worker for worker in workers if worker.has_said]

    def workers(self, asked: int, most: int) -> int:
        """As many as have room, or the recipe names; each has at least one of a host's connections."""
        room = int(_resources("CPU") / self._engine.worker_cpus) if self._engine.worker_cpus else asked
        return max(1, min(self._engine.workers or room, most))

    def encoders(self, others: Sequence[str]) -> tuple[Sequence[str], bool]:
        """A device for each worker that encodes: a GPU each, where there are some; this process has none."""
        asked = self._engine
        by_gpu = bool(asked.encoder_gpus)
        room = _resources("GPU") / asked.encoder_gpus if by_gpu else _resources("CPU") / asked.encoder_cpus
        return ["cuda" if by_gpu else "cpu"] * (asked.encoders or max(1, int(room))), False

    def require(self, folder: Path) -> None:
        """Raise PipelineError, naming the node, where one has another version, or does not see the folder."""
        import ray

        token = secrets.token_hex(8)
        place = folder.absolute() / _SEEN / f"seen-{token}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(token, encoding="utf-8")
        look = ray.remote(num_cpus=0, max_retries=0)(_look)
        try:
            for node in _nodes():
                pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                    node["NodeID"], soft=False
                )
                answer = look.options(scheduling_strategy=pinned).remote(str(place))
                if (said := _answered(answer, node)) is not None:
                    _require(str(node["NodeManagerHostname"]), said, folder)
        finally:
            place.unlink(missing_ok=True)


def _connect(address: str | None) -> None:
    """Be connected with the cluster; without an address one is started here, of this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # else nodes that are lost are told of on stdout
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'visunex[ray]'") from None
    if ray.is_initialized():
        return
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address is None:
        how["include_dashboard"] = False
    else:
        how["address"] = address if address == "auto" or ":" in address else f"{address}:{_PORT}"
    try:
        _require_head(how.get("address", "auto"))
        ray.init(**how)
    except Exception as error:  # Ray raises anything
        where = address or "this machine"
        raise PipelineError(
            f"no Ray cluster at {where} ({first_line(error)}): `ray status` shows one that is there"
        ) from None


def _require_head(address: str) -> None:
    """Raise OSError where nothing answers at an address: Ray would try for a minute and more."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), _HEAD_ANSWERS).close()


def _nodes() -> list[dict[str, Any]]:
    """The nodes that are there and have something to work with."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def _resources(kind: str) -> float:
    return float(sum(node["Resources"].get(kind, 0) for node in _nodes()))


def _answered(answer: Any, node: dict[str, Any]) -> tuple[str, bool] | None:
    """What a node says; None where it has gone meanwhile. Raises PipelineError where it cannot say it."""
    import ray

    try:
        found: tuple[str, bool] = ray.get(answer, timeout=_NODE_ANSWERS)
        return found
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return None
    except Exception as error:  # what a node without our package raises is Ray's to choose
        name, said = node["NodeManagerHostname"], first_line(error)
        raise PipelineError(
            f"the node {name} cannot work: {said}; is the same version of visunex installed there?"
        ) from None


def _require(name: str, answer: tuple[str, bool], folder: Path) -> None:
    code, sees = answer
    if code != _code():
        raise PipelineError(
            f"the node {name} has another version of visunex than this machine: install the same on both"
        )
    if not sees:
        raise PipelineError(
            f"the node {name} does not see {folder}: a run on a cluster lies on a file system that all nodes "
            "share (of a run in a bucket, its working copy: set XDG_CACHE_HOME to a folder there)"
        )


def _look(place: str) -> tuple[str, bool]:
    """What a node says of itself: which code it has, and whether it sees a file."""
    return _code(), Path(place).exists()


def _code() -> str:
    """What changes when the code of the pipeline does."""
    import visunex.base

    roots = (*map(Path, visunex.base.__path__), Path(__file__).parents[1])
    return fingerprint([sha256_file(path) for root in roots for path in sorted(root.rglob("*.py"))])


def _node_name() -> str:
    import ray

    return f"{socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:_SHOWN]})"
