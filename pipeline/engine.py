"""Making a shard with img2dataset's own downloader, resizer and writer. Runs in worker processes only.

img2dataset lays the shard out, resizes and writes; its fetch function is replaced by ours. That seam, the
module attribute `img2dataset.downloader.download_image`, is guarded by tests/pipeline/test_download_seam.py.
"""

import contextlib
import functools
import hashlib
import io
import os
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import img2dataset.downloader as seam
import pyarrow as pa
import pyarrow.parquet as pq
from img2dataset.resizer import Resizer
from img2dataset.writer import WebDatasetSampleWriter

from .archive import SpoolReader
from .fetch import Fetcher
from .jobs import OOM_SHARD_COUNT, EngineSettings, ShardJob, Tally, shard_name
from .pictures import Limits, PictureError, difference_hash, inspect

__all__ = ["Engine", "LostRowsError"]

OnRow = Callable[[int, str | None, int], None]

_SIZES = ("width", "height", "original_width", "original_height")
_HELD_IN_MEMORY = 64 * 2**20  # bytes of pictures that wait for an earlier row; further ones wait on disk


class LostRowsError(Exception):
    """img2dataset lost rows of a shard (it logs an error in its own code and goes on)."""

    def __init__(self, rows: tuple[int, ...]) -> None:
        super().__init__(f"{len(rows)} rows lost")
        self.rows = rows


class Progress:
    """Counts for the shard in work, written by fetching threads and read by the reporting one."""

    def __init__(self, shard: int) -> None:
        self.shard, self.attempted, self.succeeded, self.received = shard, 0, 0, 0
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
        return Tally(self.shard, *counts)


class Earlier:
    """The pictures of a shard as an earlier attempt left it in the output folder."""

    def __init__(self, output: Path, shard: int) -> None:
        table = pq.read_table(output / f"{shard_name(shard)}.parquet", columns=["key", *_SIZES])
        self._sizes = {row["key"]: tuple(row[name] for name in _SIZES) for row in table.to_pylist()}
        self._file = (output / f"{shard_name(shard)}.tar").open("rb")
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
        except PictureError as error:
            return None, None, None, None, None, error.described
        if self.resize is None:
            return data, picture.width, picture.height, picture.width, picture.height, None
        *resized, message = super().__call__(img_stream, blurring_bbox_list)
        return (*resized, None if message is None else f"damaged: {message}")


class OrderedWriter(WebDatasetSampleWriter):
    """img2dataset's writer with samples in order of their rows: the same pictures make the same bytes."""

    def __init__(
        self, *args: Any, job: ShardJob, settings: EngineSettings, on_row: OnRow, **kwargs: Any
    ) -> None:
        self.on_row, self.perceptual_hash, self._folder = on_row, settings.perceptual_hash, job.folder
        if self.perceptual_hash:
            args, kwargs = _with_column(args, kwargs, "dhash")
        super().__init__(*args, **kwargs)
        self.tarwriter.mtime = 0
        self._first, self._next = job.shard * settings.shard_size, 0
        self._waiting: dict[int, tuple[Any, ...]] = {}
        self._held = 0
        self._spool: Any = None
        self.failure: Exception | None = None

    def write(self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        """Write a sample when it is its turn. `close` raises a failure again: here it is only printed."""
        try:
            if self.perceptual_hash:
                meta["dhash"] = _hash_or_none(img_str)
            row = int(key) - self._first
            self._waiting[row] = (self._hold(img_str) if row != self._next else img_str, key, caption, meta)
            self._write_those_in_turn()
            self.on_row(row, meta["error_message"], len(img_str or b""))
        except Exception as error:
            self.failure = self.failure or error
            raise

    def close(self) -> None:
        """Write what still waits for a row that never came, and finish the files. Raises what `write` met."""
        while self._waiting and self.failure is None:
            self._next = min(self._waiting)
            self._write_those_in_turn()
        super().close()
        if self._spool is not None:
            self._spool.close()
        if self.failure is not None:
            raise self.failure

    def _write_those_in_turn(self) -> None:
        while self._next in self._waiting:
            image, *sample = self._waiting.pop(self._next)
            super().write(self._release(image), *sample)
            self._next += 1

    def _hold(self, image: bytes | None) -> bytes | tuple[int, int] | None:
        """Keep a picture that has to wait: the bytes, or where they lie on disk when too many wait."""
        if image is None or self._held + len(image) <= _HELD_IN_MEMORY:
            self._held += len(image or b"")
            return image
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        position = self._spool.seek(0, os.SEEK_END)
        self._spool.write(image)
        return position, len(image)

    def _release(self, held: bytes | tuple[int, int] | None) -> bytes | None:
        if not isinstance(held, tuple):
            self._held = max(0, self._held - len(held or b""))
            return held
        self._spool.seek(held[0])
        return self._spool.read(held[1])


def _with_column(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The writer's arguments with one more column in the schema, which comes fifth or by name."""
    column = pa.field(name, pa.string())
    if "schema" in kwargs:
        return args, {**kwargs, "schema": kwargs["schema"].append(column)}
    return (*args[:4], args[4].append(column), *args[5:]), kwargs


def _hash_or_none(image: bytes | None) -> str | None:
    with contextlib.suppress(Exception):
        return None if image is None else f"{difference_hash(image):016x}"
    return None


class Engine(seam.Downloader):
    """Makes shards, one at a time. Whatever happens to a single URL ends as a row with its error message."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(
            sample_writer_class=None,  # given anew for each shard
            resizer=CheckedResizer(settings.limits, settings.resize),
            thread_count=settings.threads,
            save_caption="caption" in settings.columns,
            extract_exif=False,
            output_folder=str(settings.output),
            column_list=list(settings.columns),
            timeout=settings.fetch.deadline,
            number_sample_per_shard=settings.shard_size,
            oom_shard_count=OOM_SHARD_COUNT,
            compute_hash="sha256",
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,  # the fetch has its own, within the deadline
            user_agent_token=None,
            disallowed_header_directives=None,
        )
        self.settings = settings
        self.fetcher = Fetcher(settings.fetch)
        self.spool = None if settings.spool is None else SpoolReader(settings.spool)
        self.progress = Progress(-1)
        seam.download_image = self._download_image

    def make(self, job: ShardJob) -> Tally:
        """Make the shard of `job` and put its files in place, `_stats.json` last.

        Raises LostRowsError, OSError, or whatever img2dataset raises; then nothing is put in place.
        """
        self.job, self.progress = job, Progress(job.shard)
        self.earlier = Earlier(self.settings.output, job.shard) if job.earlier else None
        self.output_folder = str(job.folder)
        self.sample_writer_class = functools.partial(
            OrderedWriter,
            job=job,
            settings=self.settings,
            on_row=self.progress.end,
        )
        rows = _row_count(job.folder / "rows.arrow")
        self.download_shard((job.shard, str(job.folder / "rows.arrow")))
        _refuse_lost_rows(job, rows, self.settings.shard_size)
        if self.earlier is not None:
            self.earlier.close()
        _publish(job, self.settings.output)
        return self.progress.tally()

    def _download_image(self, row: tuple[int, str], *_: Any, **__: Any) -> tuple[int, Any, str | None]:
        """In the place of img2dataset's: (row, stream, None) or (row, None, error message). Never raises."""
        index, url = row
        self.progress.begin(index)
        try:
            if index in self.job.verdicts:
                return index, None, self.job.verdicts[index]
            kept = self._kept(index)
            return (index, kept, None) if kept is not None else (index, *self._fetch(index, url))
        except BaseException as error:
            return index, None, f"internal: {type(error).__name__}"

    def _kept(self, index: int) -> Kept | None:
        size = self.settings.shard_size
        digits = OOM_SHARD_COUNT + len(str(size)) - 1
        return self.earlier.get(f"{self.job.shard * size + index:0{digits}d}") if self.earlier else None

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
        if self.spool is not None:
            return self.spool.get(url), "not_in_tar: the tar has no such member, or none that can be taken"
        fetched = self.fetcher.fetch(url)
        return fetched.body, fetched.described


def _row_count(path: Path) -> int:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all().num_rows


def _refuse_lost_rows(job: ShardJob, rows: int, shard_size: int) -> None:
    keys = pq.read_table(job.folder / f"{shard_name(job.shard)}.parquet", columns=["key"])["key"].to_pylist()
    lost = set(range(rows)) - {int(key) - job.shard * shard_size for key in keys}
    if lost:
        raise LostRowsError(tuple(sorted(lost)))


def _publish(job: ShardJob, output: Path) -> None:
    """Move a finished shard to its place. While `_stats.json` is missing there, it counts as not made."""
    name = shard_name(job.shard)
    (output / f"{name}_stats.json").unlink(missing_ok=True)
    for file in (f"{name}.tar", f"{name}.parquet", f"{name}_stats.json"):
        with (job.folder / file).open("rb") as finished:
            os.fsync(finished.fileno())
        (job.folder / file).replace(output / file)
