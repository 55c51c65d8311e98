"""A worker process of the download: `worker_pool` starts `python -m visunex.pipeline.download.worker FD`.

It takes jobs from a socket and dies with the process at the other end, however that ends: when the socket
closes, there is nobody left to work for.
"""

import contextlib
import os
import queue
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from visunex.net.client import MOST_HOSTS_OPEN

from .messages import Broken, Enough, Finished, MakerSettings, Ready, ShardJob, ShardProgress

if TYPE_CHECKING:
    from .shard_maker import ShardMaker

_REPORT_EVERY = 0.25  # seconds
_MOST_FILES = 65_536  # open at a time, where the system sets no bound
_OTHER_FILES = 64  # those of the shards in work and of the libraries


def main() -> None:
    """Make shards until there are no more to make, or the other end is gone."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    settings: MakerSettings = connection.recv()
    jobs: queue.SimpleQueue[ShardJob | Enough | None] = queue.SimpleQueue()
    threading.Thread(target=_receive_jobs, args=(connection, jobs), daemon=True).start()
    outbox = _Outbox(connection)
    try:
        maker = load_maker(within_open_files(settings, raise_open_files()))
    except Exception as error:
        sentence = f"a worker cannot start ({type(error).__name__}: {error})"
        outbox.send(Broken(-1, traceback.format_exc(), fatal=sentence))
        return
    outbox.send(Ready())
    while (job := jobs.get()) is not None:  # the pool sends a further one when this waits for slow links only
        if isinstance(job, Enough):
            maker.leave_from(job.shard, job.row)
        else:
            threading.Thread(target=_make, args=(maker, job, outbox), daemon=True).start()


def open_files_allowed() -> int:
    """How many files a process may have open once it has allowed itself as many as it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    return max(soft, most) if soft != resource.RLIM_INFINITY else _MOST_FILES


def fewer_threads(settings: MakerSettings, files: int) -> str:
    """What to say where so many open files suffice for fewer threads than were asked for; else nothing."""
    threads = within_open_files(settings, files).threads
    if threads == settings.threads:
        return ""
    return (
        f"each process fetches {threads} pictures at a time, not {settings.threads}: this machine allows it "
        f"{files} open files (ulimit -n)"
    )


def raise_open_files() -> int:
    """Allow this process as many open files as it can allow itself; how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = open_files_allowed()
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # some systems have a lower bound than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft


def within_open_files(settings: MakerSettings, files: int) -> MakerSettings:
    """The settings with as many threads and kept connections as so many open files suffice for."""
    third = max(1, (files - _OTHER_FILES) // 3)  # for sockets, for asking for names, for kept connections
    threads = min(settings.threads, third)
    kept = max(1, min(settings.fetch.connections, third // MOST_HOSTS_OPEN))
    return replace(settings, threads=threads, fetch=replace(settings.fetch, connections=kept))


def load_maker(settings: MakerSettings) -> "ShardMaker":
    """What makes this process' shards, with img2dataset loaded. Raises whatever that raises."""
    from .img2dataset_adapter import load_quickly

    load_quickly()
    from .shard_maker import ShardMaker

    return ShardMaker(settings)


def _receive_jobs(connection: Any, jobs: "queue.SimpleQueue[ShardJob | Enough | None]") -> None:
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
        with outbox.reporting(lambda: maker.progress(counter)):
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
