"""Making shards in a worker process: images come from the web or a tar, img2dataset lays them out.

Several shards can be in work at a time, so that a few slow links of one hold up nothing but themselves.
"""

import contextlib
import hashlib
import io
import os
import sys
import tarfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from visunex.net.errors import described
from visunex.net.fetcher import Fetcher
from visunex.net.outage import Patient
from visunex.net.rate_limit import HostOrder

from ..shards.made import note_files
from ..shards.naming import ROWS, SHARD_FILES, STATS, TAR, row_key, shard_name
from .choose import NOT_TRIED
from .img2dataset_adapter import CheckedStream, SampleWriter, make_shard
from .messages import ROWS_FILE, MakerSettings, ShardJob, ShardProgress, Written
from .shard_writer import OrderedWriter

if TYPE_CHECKING:
    from visunex.base.storage import Sender

    from ..inside.spool import Held

__all__ = ["AbandonedError", "LostRowsError", "ProgressCounter", "RowFetcher", "ShardMaker"]

_SIZES = ("width", "height", "original_width", "original_height")


_Fetched = tuple[bytes | None, str]  # an image's file, or None and the error message


class LostRowsError(Exception):
    """img2dataset lost rows of a shard (it logs an error in its own code and goes on)."""

    def __init__(self, rows: tuple[int, ...]) -> None:
        super().__init__(f"{len(rows)} rows lost")
        self.rows = rows


class AbandonedError(Exception):
    """No row of a shard is wanted any more."""


class _Wanted:
    """Which rows of a shard are wanted: all, until there are enough images elsewhere."""

    def __init__(self) -> None:
        self.rows = sys.maxsize
        self._changed = threading.Condition()

    def leave_from(self, row: int) -> None:
        """Rows from this on are not wanted any more: who fetches one is let go."""
        with self._changed:
            self.rows = min(row, self.rows)
            self._changed.notify_all()

    def unless_left(self, row: int, fetch: Callable[[], _Fetched]) -> _Fetched | None:
        """What `fetch` gives, or None as soon as the row is not wanted. Then it goes on for nobody."""
        found: list[_Fetched] = []

        def work() -> None:
            try:
                found.append(fetch())
            except Exception as error:
                found.append((None, described(error)))
            with self._changed:
                self._changed.notify_all()

        if row < self.rows:
            threading.Thread(target=work, daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: found or row >= self.rows)
        return found[0] if found else None


class ShardMaker:
    """Makes the shards of a worker, several at a time, which share its connections and places to fetch at."""

    def __init__(self, settings: MakerSettings) -> None:
        self.settings, self.images = settings, _Images(settings)
        self._sender = _sender(settings.output.parent) if settings.sends else None
        self._wanted = defaultdict[int, _Wanted](_Wanted)

    def leave_from(self, shard: int, row: int) -> None:
        """Of a shard in work, rows from this on are not wanted any more."""
        self._wanted[shard].leave_from(row)

    def make(self, job: ShardJob, counter: "ProgressCounter") -> ShardProgress:
        """Make the shard and put its files in place, `_stats.json` last.

        Raises AbandonedError, LostRowsError, OSError, or whatever img2dataset raises; then nothing is put in
        place.
        """
        settings = self.settings
        urls = _urls(job.folder / ROWS_FILE)
        counter.rows = rows = len(urls)
        with _previous_attempt(settings.output, job) as previous:
            wanted = self._wanted[job.shard]
            fetcher = RowFetcher(self.images, job, settings.shard_size, counter, previous, wanted)
            fetcher.order_by_hosts(urls, settings.threads)
            make_shard(job, settings, fetcher.fetch_row, lambda writer: self._ordered(writer, job, counter))
        _refuse_lost_rows(job, rows, settings.shard_size)
        if wanted.rows == 0:
            raise AbandonedError
        _publish(job, settings.output, self._sender)
        return self.progress(counter)

    def progress(self, counter: "ProgressCounter") -> ShardProgress:
        """How far a shard is, and whether anything answers."""
        waited, gave_up = int(self.images.web.waited), self.images.web.gave_up
        return replace(counter.progress(), waited=waited, gave_up=gave_up)

    def _ordered(self, writer: SampleWriter, job: ShardJob, counter: "ProgressCounter") -> OrderedWriter:
        first, hashed = job.shard * self.settings.shard_size, self.settings.perceptual_hash
        files = {row: kept.sha256 for row, kept in job.taken_over.items()}
        return OrderedWriter(writer, job.folder, first, counter.end, perceptual_hash=hashed, files=files)


class ProgressCounter:
    """Counts for a shard in work, written by fetching threads and read by the reporting one."""

    def __init__(self, shard: int) -> None:
        self.shard, self.attempted, self.succeeded, self.received = shard, 0, 0, 0
        self.rows: int | None = None  # not known before they are read
        self.few = lambda _left: False  # whether so many rows that are left wait for their hosts alone
        self.failures: Counter[str] = Counter()
        self._open: set[int] = set()
        self._written: list[Written] = []  # since the last report
        self._lock = threading.Lock()

    def begin(self, row: int) -> None:
        """A row is being worked on."""
        with self._lock:
            self._open.add(row)

    def end(self, written: Written, received: int) -> None:
        """A row is written, with its error message or None."""
        row, error = written.row, written.error
        with self._lock:
            self._open.discard(row)
            self._written.append(written)
            self.attempted += 1
            self.received += received
            if error is None:
                self.succeeded += 1
            else:
                self.failures[error.partition(":")[0]] += 1

    def progress(self) -> ShardProgress:
        """The counts now."""
        with self._lock:
            counts = self.attempted, self.succeeded, self.received, dict(self.failures), tuple(self._open)
            left = -1 if self.rows is None else self.rows - self.attempted
            all_begun = left == len(self._open) or self.few(left)
            written, self._written = tuple(self._written), []
        return ShardProgress(self.shard, *counts, all_begun, written=written)


class _Images:
    """Where images come from: the web, or the spool; so many `places` at a time."""

    def __init__(self, settings: MakerSettings) -> None:
        self.places = threading.Semaphore(settings.threads)
        self.fetcher = fetcher = Fetcher(settings.fetch)
        self.web = Patient(fetcher.fetch, fetcher.reaches, settings.patience, settings.threads)
        self._spool = settings.spool

    def get(self, url: str) -> _Fetched:
        """The image's file from the web, or None and the error message."""
        fetched = self.web.fetch(url)
        return fetched.body, fetched.described

    def copied(self, held: "Held") -> _Fetched:
        """The image's file from the spool, or None and the error message."""
        if isinstance(held, str) or self._spool is None:
            return None, str(held)
        with self._spool.open("rb") as spool:
            return os.pread(spool.fileno(), held[1], held[0]), ""


class RowFetcher:
    """Gets the images of one shard's rows. Whatever happens to a row ends as its error message."""

    def __init__(
        self,
        images: _Images,
        job: ShardJob,
        shard_size: int,
        counter: ProgressCounter,
        previous: "_PreviousAttempt | None" = None,
        wanted: _Wanted | None = None,
    ) -> None:
        self._images, self._job, self._size, self._counter = images, job, shard_size, counter
        self._previous, self._wanted = previous, wanted or _Wanted()
        self._urls: Sequence[str] = ()
        self._order: HostOrder | None = None

    def order_by_hosts(self, urls: Sequence[str], threads: int) -> None:
        """Have rows, which have these `urls`, begun as their hosts have turns to give, the first ones first.

        A thread that waited for one host's turn would keep others' from being fetched.
        """
        settled = {*self._job.not_fetched, *self._job.held, *self._job.taken_over}
        if self._previous is not None:
            settled |= {row for row in range(len(urls)) if self._key(row) in self._previous}
        asked = [None if row in settled else url for row, url in enumerate(urls)]
        self._urls, order = urls, self._images.fetcher.order(asked, lambda: self._wanted.rows)
        self._order, self._counter.few = order, lambda left: order.is_idle and left <= threads

    def fetch_row(self, row: int, url: str) -> tuple[int, io.BytesIO | None, str | None]:
        """(row, stream, None) or (row, None, error message). Never raises.

        Where they are ordered by their hosts, of a row whose turn it is in place of the given one; each once.
        """
        if self._order is None:
            return self._row(row, url)
        try:
            row = self._order.take()
        except LookupError as error:
            return row, None, described(error)
        try:
            return self._row(row, self._urls[row])
        finally:
            self._order.done(row)

    def _row(self, row: int, url: str) -> tuple[int, io.BytesIO | None, str | None]:
        try:
            with self._images.places:
                self._counter.begin(row)
                if row in self._job.not_fetched:
                    return row, None, self._job.not_fetched[row]
                kept = self._kept(row)
                return (row, kept, None) if kept is not None else (row, *self._fetch(row, url))
        except Exception as error:
            return row, None, described(error)

    def _key(self, row: int) -> str:
        return row_key(self._job.shard * self._size + row, self._size)

    def _kept(self, row: int) -> CheckedStream | None:
        previous = None if self._previous is None else self._previous.get(self._key(row))
        earlier = self._job.taken_over.get(row) if previous is None else None
        return previous if earlier is None else CheckedStream(earlier.read(), earlier.sizes)

    def _fetch(self, row: int, url: str) -> tuple[io.BytesIO | None, str | None]:
        images, held = self._images, self._job.held.get(row)
        fetched = self._wanted.unless_left(
            row, lambda: images.get(url) if held is None else images.copied(held)
        )
        if fetched is None:
            return None, f"{NOT_TRIED}: there were enough pictures without it"
        body, message = fetched
        if body is None:
            return None, message
        expected, hash_type = self._job.expected.get(row), self._job.hash_type
        if expected is not None and hashlib.new(hash_type, body).hexdigest() != expected:
            return None, f"hash_mismatch: not the file whose {hash_type} the data set names"
        return io.BytesIO(body), None


class _PreviousAttempt:
    """The images of a shard as an earlier attempt left it in the output folder."""

    def __init__(self, output: Path, shard: int) -> None:
        table = pq.read_table(output / f"{shard_name(shard)}{ROWS}", columns=["key", *_SIZES])
        self._sizes = {row["key"]: tuple(row[name] for name in _SIZES) for row in table.to_pylist()}
        self._file = (output / f"{shard_name(shard)}{TAR}").open("rb")
        with tarfile.open(fileobj=self._file) as tar:
            images = [member for member in tar if member.name.endswith(".jpg")]
            self._places = {member.name[:-4]: (member.offset_data, member.size) for member in images}

    def __contains__(self, key: str) -> bool:
        """Whether there is an image with this key."""
        return key in self._places

    def get(self, key: str) -> CheckedStream | None:
        """The image with this key, if there is one."""
        if key not in self._places:
            return None
        offset, size = self._places[key]
        return CheckedStream(os.pread(self._file.fileno(), size, offset), self._sizes[key])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextlib.contextmanager
def _previous_attempt(output: Path, job: ShardJob) -> Iterator[_PreviousAttempt | None]:
    if not job.keep_previous:
        yield None
        return
    with contextlib.closing(_PreviousAttempt(output, job.shard)) as previous:
        yield previous


def _urls(path: Path) -> list[str]:
    with pa.memory_map(str(path)) as source:
        urls: list[str] = pa.ipc.open_file(source).read_all()["url"].to_pylist()
    return urls


def _sender(run: Path) -> "Sender":
    from visunex.base.storage import Sender  # which few workers need

    return Sender(run)


def _refuse_lost_rows(job: ShardJob, rows: int, shard_size: int) -> None:
    path = job.folder / f"{shard_name(job.shard)}{ROWS}"
    keys = pq.read_table(path, columns=["key"])["key"].to_pylist()
    lost = set(range(rows)) - {int(key) - job.shard * shard_size for key in keys}
    if lost:
        raise LostRowsError(tuple(sorted(lost)))


def _publish(job: ShardJob, output: Path, sender: "Sender | None") -> None:
    """Move a finished shard to its place. While `_stats.json` is missing there, it counts as not made."""
    name = shard_name(job.shard)
    if sender is not None:
        sender.withdraw(f"{output.name}/{name}{STATS}")
    (output / f"{name}{STATS}").unlink(missing_ok=True)
    for kind in SHARD_FILES:
        if kind == STATS:
            note_files(job.folder / f"{name}{STATS}", output / f"{name}{TAR}", output / f"{name}{ROWS}")
        with (job.folder / f"{name}{kind}").open("rb") as finished:
            os.fsync(finished.fileno())
        if sender is not None:
            sender.send(job.folder / f"{name}{kind}", f"{output.name}/{name}{kind}")
        (job.folder / f"{name}{kind}").replace(output / f"{name}{kind}")
