"""A worker process of the download: `python -m visunex.pipeline.download.worker FD`, started by `crew.py`.

It takes jobs from a socket and dies with the process at the other end, however that ends: when the socket
closes, there is nobody left to work for.
"""

import contextlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from .messages import Broken, EngineSettings, Finished, Ready, ShardJob

_REPORT_EVERY = 0.25  # seconds


def main() -> None:
    """Work until told to stop, or until the other end is gone."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    settings: EngineSettings = connection.recv()
    jobs: queue.SimpleQueue[ShardJob | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, jobs), daemon=True).start()
    outbox = _Outbox(connection)
    try:
        engine = _engine_class(settings)(settings)
    except Exception as error:
        sentence = f"a worker cannot start ({type(error).__name__}: {error})"
        outbox.send(Broken(-1, traceback.format_exc(), fatal=sentence))
        return
    outbox.send(Ready())
    while (job := jobs.get()) is not None:
        threading.Thread(target=_work, args=(engine, job, outbox), daemon=True).start()


def _listen(connection: Any, jobs: "queue.SimpleQueue[ShardJob | None]") -> None:
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


def _engine_class(settings: EngineSettings) -> Any:
    """`Engine`, without the heavy libraries that img2dataset loads beside it, if that works."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for updates when it is loaded
    os.environ["WANDB_MODE"] = "disabled"
    try:
        with _spared("wandb", "pandas", *(() if settings.resize else ("albumentations",))):
            from .shard_maker import Engine
    except Exception:  # another img2dataset, which needs them
        for name in [name for name in sys.modules if name.partition(".")[0] in ("img2dataset", "webdataset")]:
            del sys.modules[name]
        sys.modules.pop("visunex.pipeline.download.shard_writer", None)
        from .shard_maker import Engine
    return Engine


@contextlib.contextmanager
def _spared(*names: str) -> Iterator[None]:
    """Empty modules in the place of those that img2dataset imports and our part of it never uses.

    Together with torch, which webdataset can do without, they are nine tenths of a worker's start-up time and
    half of its memory. pyarrow, too, can do without pandas.
    """
    placeholders = {name: ModuleType(name) for name in names}
    sys.modules.update(placeholders, torch=None)  # type: ignore[call-overload]
    try:
        yield
        sys.meta_path.insert(0, _Absent())
    finally:
        for name, placeholder in placeholders.items():
            if sys.modules.get(name) is placeholder:
                del sys.modules[name]


class _Absent(MetaPathFinder):
    """Says that there is no pandas. A None in `sys.modules` would not do: pyarrow's compiled code takes it
    for the module and fails on the first table that it makes.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raise ModuleNotFoundError for pandas and what is in it."""
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError("left out of this process", name=name)


def _work(engine: Any, job: ShardJob, outbox: "_Outbox") -> None:
    """Make one shard, reporting on it. The crew gives the next one when only slow links of this are left."""
    outbox.send(_made(engine, job, outbox))


def _made(engine: Any, job: ShardJob, outbox: "_Outbox") -> Finished | Broken:
    from .shard_maker import LostRowsError

    try:
        maker = engine.shard(job)
        with outbox.reporting(maker.progress):
            return Finished(maker.make())
    except LostRowsError as error:
        return Broken(job.shard, str(error), lost_rows=error.rows)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return Broken(job.shard, traceback.format_exc(), fatal=f"{error.strerror or error}{where}")
    except Exception:
        return Broken(job.shard, traceback.format_exc())


class _Outbox:
    """The way to the parent, used by the threads that make shards and those that report on them."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, message: object) -> None:
        """Send a message; when nobody is there to read it, this process ends."""
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            os._exit(1)

    @contextlib.contextmanager
    def reporting(self, progress: Any) -> Iterator[None]:
        """Send the tally of a shard's progress every quarter of a second during the block."""
        stop = threading.Event()

        def report() -> None:
            while not stop.wait(_REPORT_EVERY):
                self.send(progress.tally())

        reporter = threading.Thread(target=report, daemon=True)
        reporter.start()
        try:
            yield
        finally:
            stop.set()
            reporter.join()


if __name__ == "__main__":
    main()
