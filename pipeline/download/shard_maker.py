"""Making shards with img2dataset's own downloader, resizer and writer. Runs in worker processes only.

img2dataset lays the shard out, resizes and writes; its fetch function is replaced by ours. That seam, the
module attribute `img2dataset.downloader.download_image`, is guarded by tests/pipeline/test_download_seam.py.
Several shards can be in work at a time, so that a few slow links of one hold up nothing but themselves.
"""

import functools
import hashlib
import io
import os
import tarfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Self

import img2dataset.downloader as seam
import pyarrow as pa
import pyarrow.parquet as pq
from img2dataset.resizer import Resizer

from visunex.images.errors import ImageError
from visunex.images.validate import Limits, inspect
from visunex.net.fetcher import Fetcher

from ..shards.naming import ROWS, SHARD_DIGITS, SHARD_FILES, STATS, TAR, row_key, shard_name
from .messages import EngineSettings, ShardJob, Tally
from .shard_writer import OrderedWriter
from .tar_source import SpoolReader

__all__ = ["Engine", "LostRowsError"]

_SIZES = ("width", "height", "original_width", "original_height")


class LostRowsError(Exception):
    """img2dataset lost rows of a shard (it logs an error in its own code and goes on)."""

    def __init__(self, rows: tuple[int, ...]) -> None:
        super().__init__(f"{len(rows)} rows lost")
        self.rows = rows


class Progress:
    """Counts for a shard in work, written by fetching threads and read by the reporting one."""

    def __init__(self, shard: int) -> None:
        self.shard, self.attempted, self.succeeded, self.received = shard, 0, 0, 0
        self.rows: int | None = None  # not known before they are read
        self.failures: Counter[str] = Counter()
        self._open: set[int] = set()
        self._lock = threading.Lock()

    def begin(self, row: int) -> None:
        """A row is being worked on."""
        with self._lock:
            self._open.add(row)

    def end(self, row: int, error: str | None, received: int) -> None:
        """A row is written, with its error message or None."""
        with self._lock:
            self._open.discard(row)
            self.attempted += 1
            self.received += received
            if error is None:
                self.succeeded += 1
            else:
                self.failures[error.partition(":")[0]] += 1

    def tally(self) -> Tally:
        """The counts now."""
        with self._lock:
            counts = self.attempted, self.succeeded, self.received, dict(self.failures), tuple(self._open)
            all_begun = self.rows == self.attempted + len(self._open)
        return Tally(self.shard, *counts, all_begun)


class Earlier:
    """The pictures of a shard as an earlier attempt left it in the output folder."""

    def __init__(self, output: Path, shard: int) -> None:
        table = pq.read_table(output / f"{shard_name(shard)}{ROWS}", columns=["key", *_SIZES])
        self._sizes = {row["key"]: tuple(row[name] for name in _SIZES) for row in table.to_pylist()}
        self._file = (output / f"{shard_name(shard)}{TAR}").open("rb")
        with tarfile.open(fileobj=self._file) as tar:
            pictures = [member for member in tar if member.name.endswith(".jpg")]
            self._places = {member.name[:-4]: (member.offset_data, member.size) for member in pictures}

    def get(self, key: str) -> "Kept | None":
        """The picture with this key, if there is one."""
        if key not in self._places:
            return None
        offset, size = self._places[key]
        return Kept(os.pread(self._file.fileno(), size, offset), self._sizes[key])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Kept(io.BytesIO):
    """A picture that an earlier attempt at the shard had, with the sizes noted then."""

    def __init__(self, data: bytes, sizes: tuple[int | None, ...]) -> None:
        super().__init__(data)
        self.sizes = sizes


class CheckedResizer(Resizer):
    """img2dataset's resizer behind our check of the picture; without `resize` the original bytes pass."""

    def __init__(self, limits: Limits, resize: int | None) -> None:
        super().__init__(
            image_size=resize or 1,
            resize_mode="keep_ratio",
            resize_only_if_bigger=True,
            encode_quality=95,
            encode_format="jpg",
        )
        self.limits, self.resize = limits, resize

    def __call__(self, img_stream: Any, blurring_bbox_list: Any = None) -> tuple[Any, ...]:
        """(bytes, width, height, original width, original height, error message)."""
        data = img_stream.getvalue()
        if isinstance(img_stream, Kept):
            return (data, *img_stream.sizes, None)
        try:
            picture = inspect(data, self.limits)
        except ImageError as error:
            return None, None, None, None, None, error.described
        if self.resize is None:
            return data, picture.width, picture.height, picture.width, picture.height, None
        *resized, message = super().__call__(img_stream, blurring_bbox_list)
        return (*resized, None if message is None else f"damaged: {message}")


class Engine:
    """What the shards of a worker share: the fetcher with its connections, and the places to fetch at."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.fetcher = Fetcher(settings.fetch)
        self.spool = None if settings.spool is None else SpoolReader(settings.spool)
        self.places = threading.Semaphore(settings.threads)
        seam.download_image = _download_image

    def shard(self, job: ShardJob) -> "ShardMaker":
        """What makes the shard of `job`."""
        return ShardMaker(self, job)


class ShardMaker(seam.Downloader):
    """Makes one shard. Whatever happens to a single URL ends as a row with its error message."""

    def __init__(self, engine: Engine, job: ShardJob) -> None:
        settings, self.progress = engine.settings, Progress(job.shard)
        writer = functools.partial(OrderedWriter, job=job, settings=settings, on_row=self.progress.end)
        super().__init__(
            sample_writer_class=writer,
            resizer=CheckedResizer(settings.limits, settings.resize),
            thread_count=settings.threads,
            save_caption="caption" in settings.columns,
            extract_exif=False,
            output_folder=str(job.folder),
            column_list=list(settings.columns),
            timeout=Deadline(settings.fetch.deadline, self),
            number_sample_per_shard=settings.shard_size,
            oom_shard_count=SHARD_DIGITS,
            compute_hash="sha256",
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,  # the fetch has its own, within the deadline
            user_agent_token=None,
            disallowed_header_directives=None,
        )
        self.engine, self.settings, self.job = engine, settings, job
        self.earlier = Earlier(settings.output, job.shard) if job.earlier else None

    def make(self) -> Tally:
        """Make the shard and put its files in place, `_stats.json` last.

        Raises LostRowsError, OSError, or whatever img2dataset raises; then nothing is put in place.
        """
        table = self.job.folder / "rows.arrow"
        self.progress.rows = rows = _row_count(table)
        self.download_shard((self.job.shard, str(table)))
        _refuse_lost_rows(self.job, rows, self.settings.shard_size)
        if self.earlier is not None:
            self.earlier.close()
        _publish(self.job, self.settings.output)
        return self.progress.tally()

    def fetch_row(self, index: int, url: str) -> tuple[int, Any, str | None]:
        """(row, stream, None) or (row, None, error message). Never raises."""
        try:
            with self.engine.places:
                self.progress.begin(index)
                if index in self.job.verdicts:
                    return index, None, self.job.verdicts[index]
                kept = self._kept(index)
                return (index, kept, None) if kept is not None else (index, *self._fetch(index, url))
        except BaseException as error:
            return index, None, f"internal: {type(error).__name__}"

    def _kept(self, index: int) -> Kept | None:
        size = self.settings.shard_size
        return self.earlier.get(row_key(self.job.shard * size + index, size)) if self.earlier else None

    def _fetch(self, index: int, url: str) -> tuple[io.BytesIO | None, str | None]:
        body, message = self._bytes(url)
        if body is None:
            return None, message
        expected = self.job.expected.get(index)
        if expected is not None and hashlib.new(self.job.hash_type, body).hexdigest() != expected:
            return None, f"hash_mismatch: not the file whose {self.job.hash_type} the data set names"
        return io.BytesIO(body), None

    def _bytes(self, url: str) -> tuple[bytes | None, str]:
        """The picture's file, from the tar that was looked through or from the web, or why there is none."""
        if self.engine.spool is not None:
            return self.engine.spool.get(
                url
            ), "not_in_tar: the tar has no such member, or none that can be taken"
        fetched = self.engine.fetcher.fetch(url)
        return fetched.body, fetched.described


class Deadline(float):
    """The deadline in seconds, which img2dataset passes on as it is, and the shard that it was given for."""

    def __new__(cls, seconds: float, maker: ShardMaker) -> Self:
        """A number of seconds that knows `maker`."""
        made = super().__new__(cls, seconds)
        made.maker = maker
        return made

    maker: ShardMaker


def _download_image(row: tuple[int, str], *given: Any, **named: Any) -> tuple[int, Any, str | None]:
    """In the place of img2dataset's: (row, stream, None) or (row, None, error message). Never raises."""
    for deadline in (*given, *named.values()):
        if isinstance(deadline, Deadline):
            return deadline.maker.fetch_row(*row)
    return row[0], None, "internal: this img2dataset does not pass on its timeout"


def _row_count(path: Path) -> int:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all().num_rows


def _refuse_lost_rows(job: ShardJob, rows: int, shard_size: int) -> None:
    keys = pq.read_table(job.folder / f"{shard_name(job.shard)}{ROWS}", columns=["key"])["key"].to_pylist()
    lost = set(range(rows)) - {int(key) - job.shard * shard_size for key in keys}
    if lost:
        raise LostRowsError(tuple(sorted(lost)))


def _publish(job: ShardJob, output: Path) -> None:
    """Move a finished shard to its place. While `_stats.json` is missing there, it counts as not made."""
    name = shard_name(job.shard)
    (output / f"{name}{STATS}").unlink(missing_ok=True)
    for file in (f"{name}{kind}" for kind in SHARD_FILES):
        with (job.folder / file).open("rb") as finished:
            os.fsync(finished.fileno())
        (job.folder / file).replace(output / file)
