"""A worker process of the download: `worker_pool` starts `python -m visunex.pipeline.download.worker FD`.

It takes jobs from a socket and dies with the process at the other end, however that ends: when the socket
closes, there is nobody left to work for.
"""

import contextlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from .messages import Broken, Finished, MakerSettings, Ready, ShardJob, ShardProgress

if TYPE_CHECKING:
    from .shard_maker import ShardMaker

_REPORT_EVERY = 0.25  # seconds


def main() -> None:
    """Make shards until there are no more to make, or the other end is gone."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    settings: MakerSettings = connection.recv()
    jobs: queue.SimpleQueue[ShardJob | None] = queue.SimpleQueue()
    threading.Thread(target=_receive_jobs, args=(connection, jobs), daemon=True).start()
    outbox = _Outbox(connection)
    try:
        maker = load_maker(settings)
    except Exception as error:
        sentence = f"a worker cannot start ({type(error).__name__}: {error})"
        outbox.send(Broken(-1, traceback.format_exc(), fatal=sentence))
        return
    outbox.send(Ready())
    while (job := jobs.get()) is not None:  # the pool sends a further one when this waits for slow links only
        threading.Thread(target=_make, args=(maker, job, outbox), daemon=True).start()


def load_maker(settings: MakerSettings) -> "ShardMaker":
    """What makes this process' shards, with img2dataset loaded. Raises whatever that raises."""
    from .img2dataset_adapter import load_quickly

    load_quickly()
    from .shard_maker import ShardMaker

    return ShardMaker(settings)


def _receive_jobs(connection: Any, jobs: "queue.SimpleQueue[ShardJob | None]") -> None:
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


def _make(maker: "ShardMaker", job: ShardJob, outbox: "_Outbox") -> None:
    """Make one shard, reporting on it."""
    outbox.send(_outcome(maker, job, outbox))


def _outcome(maker: "ShardMaker", job: ShardJob, outbox: "_Outbox") -> Finished | Broken:
    from .shard_maker import LostRowsError, ProgressCounter

    counter = ProgressCounter(job.shard)
    try:
        with outbox.reporting(counter.progress):
            return Finished(maker.make(job, counter))
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
    def reporting(self, progress: Callable[[], ShardProgress]) -> Iterator[None]:
        """Send a shard's `progress()` every quarter of a second during the block."""
        stop = threading.Event()

        def report() -> None:
            while not stop.wait(_REPORT_EVERY):
                self.send(progress())

        reporter = threading.Thread(target=report, daemon=True)
        reporter.start()
        try:
            yield
        finally:
            stop.set()
            reporter.join()


if __name__ == "__main__":
    main()
