"""All that bends img2dataset to our ends. No other module of the project imports it.

img2dataset lays out and writes a shard; we fetch, check and resize. It is made for the command line and has
no place to put a fetch in, so each of these leans on something inside it, and has a test that fails when that
changes (tests/pipeline/download/test_img2dataset_adapter.py); `visunex-data doctor` asks `missing_parts`:

- it loads half of PyPI: `load_quickly` puts empty modules in the place of those that are never used;
- its libraries ask the network: environment variables that they read stop that;
- its fetch: the module attribute `download_image` is replaced, and which shard a row is of comes with the
  deadline, the one argument that is passed on as it is (`_Deadline`);
- in the place of its resizer is ours, which checks and decodes as the encoders do (`CheckedResizer`);
- its writer is opened by us, with a column more where that is wanted, and wrapped (`make_shard`).
"""

import contextlib
import importlib
import inspect
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self

from visunex.images.errors import ImageError
from visunex.images.resize import Resize, resize
from visunex.images.validate import Limits
from visunex.images.validate import inspect as inspect_image
from visunex.net.errors import described
from visunex.net.fetcher import FetchSettings

from ..shards.naming import SHARD_DIGITS
from .messages import ROWS_FILE, MakerSettings, ShardJob

__all__ = [
    "CheckedResizer",
    "CheckedStream",
    "FetchRow",
    "SampleWriter",
    "load_quickly",
    "make_shard",
    "missing_parts",
    "replace_fetch",
]

# (row in the shard, URL) -> (row, stream, None) or (row, None, error message). Never raises.
FetchRow = Callable[[int, str], tuple[int, io.BytesIO | None, str | None]]


class SampleWriter(Protocol):
    """What img2dataset writes a shard's rows with."""

    def write(self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        """Write a row and, where there is one, its image; `meta` is the row of the shard's parquet."""

    def close(self) -> None:
        """Finish the files."""


# --- loading it ---


def load_quickly() -> None:
    """Load img2dataset into a worker process, without what it imports and our part of it never uses.

    Together with torch, which webdataset can do without, that is nine tenths of a worker's start-up time and
    half of its memory; pyarrow, too, can do without pandas. The process then has no torch and no pandas. An
    img2dataset that needs one of them is loaded as it is.
    """
    _quieten()
    try:
        with _left_out("wandb", "pandas", "albumentations"):
            importlib.import_module("img2dataset.downloader")
    except Exception:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("img2dataset", "webdataset")]:
            del sys.modules[name]
        importlib.import_module("img2dataset.downloader")
    else:
        sys.meta_path.insert(0, _NoPandas())


def _quieten() -> None:
    """Keep albumentations from asking for updates when it is loaded, and wandb from reporting."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    os.environ["WANDB_MODE"] = "disabled"


@contextlib.contextmanager
def _left_out(*names: str) -> Iterator[None]:
    """Empty modules of these names during the block, and no Ray where it is not loaded already.

    Nor is there a torch, which stays so unless the block fails.
    """
    left_out: dict[str, ModuleType | None] = {name: ModuleType(name) for name in names}
    left_out |= {} if "ray" in sys.modules else {"ray": None}  # importing None is an ImportError
    sys.modules.update({**left_out, "torch": None})  # type: ignore[dict-item]
    try:
        yield
    except Exception:
        del sys.modules["torch"]
        raise
    finally:
        for name in left_out:
            sys.modules.pop(name, None)


class _NoPandas(MetaPathFinder):
    """Says that there is no pandas. A None in `sys.modules` would not do: pyarrow's compiled code takes it
    for the module and fails on the first table that it makes.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raise ModuleNotFoundError for pandas and what is in it."""
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError("left out of this process", name=name)


# --- the fetch ---


class _Deadline(float):
    """The deadline in seconds, which img2dataset passes on as it is, and the fetch of the shard it is for."""

    fetch_row: FetchRow

    def __new__(cls, seconds: float, fetch_row: FetchRow) -> Self:
        """A number of seconds that brings `fetch_row` along."""
        deadline = super().__new__(cls, seconds)
        deadline.fetch_row = fetch_row
        return deadline


def _download_image(row: tuple[int, str], *given: Any, **named: Any) -> tuple[int, Any, str | None]:
    """In the place of img2dataset's: (row, stream, None) or (row, None, error message). Never raises."""
    for deadline in (*given, *named.values()):
        if isinstance(deadline, _Deadline):
            return deadline.fetch_row(*row)
    return row[0], None, "internal: this img2dataset does not pass on its timeout"


def replace_fetch() -> None:
    """Have img2dataset ask the `FetchRow` of a shard for its images, in this process."""
    from img2dataset import downloader

    downloader.download_image = _download_image


# --- the resizer ---


class CheckedStream(io.BytesIO):
    """An image that an earlier attempt at its shard checked and resized, with its four sizes."""

    def __init__(self, data: bytes, sizes: tuple[int | None, ...]) -> None:
        super().__init__(data)
        self.sizes = sizes


class CheckedResizer:
    """Our check of the image, and our resize; without `how` the original bytes pass.

    img2dataset's own hands the bytes to OpenCV, which reads other formats than those that were checked, knows
    no orientation and cuts 16 bits off.
    """

    def __init__(self, limits: Limits, how: Resize | None) -> None:
        self._limits, self._how = limits, how

    def __call__(self, img_stream: Any, blurring_bbox_list: Any = None) -> tuple[Any, ...]:
        """(bytes, width, height, original width, original height, error message)."""
        data = img_stream.getvalue()
        if isinstance(img_stream, CheckedStream):
            return (data, *img_stream.sizes, None)
        try:
            image = inspect_image(data, self._limits)
            if self._how is None:
                return data, image.width, image.height, image.width, image.height, None
            smaller = resize(data, self._how)
        except ImageError as error:
            return None, None, None, None, None, error.described
        except (MemoryError, OSError) as error:
            return None, None, None, None, None, described(error)
        return (smaller.data, *smaller.size, *smaller.original, None)


# --- the shard ---


def make_shard(
    job: ShardJob,
    settings: MakerSettings,
    fetch_row: FetchRow,
    wrapped: Callable[[SampleWriter], SampleWriter],
) -> None:
    """Have img2dataset make the shard of `job` in its folder, out of its rows.

    `wrapped` is given img2dataset's writer, and gives the one that rows are written with. Raises whatever
    img2dataset or that writer's `close` raises; a row whose handling fails before is missing in the shard.
    """
    from img2dataset.downloader import Downloader

    replace_fetch()
    column = "dhash" if settings.perceptual_hash else None
    downloader = Downloader(
        sample_writer_class=lambda *args, **kwargs: wrapped(_writer(args, kwargs, column)),
        resizer=CheckedResizer(settings.limits, settings.resize),
        timeout=_Deadline(settings.fetch.deadline, fetch_row),
        **_downloader_arguments(job, settings),
    )
    downloader.download_shard((job.shard, str(job.folder / ROWS_FILE)))


def _downloader_arguments(job: ShardJob, settings: MakerSettings) -> dict[str, Any]:
    return {
        "thread_count": settings.threads,
        "save_caption": "caption" in settings.columns,
        "extract_exif": False,
        "output_folder": str(job.folder),
        "column_list": list(settings.columns),
        "number_sample_per_shard": settings.shard_size,
        "oom_shard_count": SHARD_DIGITS,
        "compute_hash": "sha256",
        "verify_hash_type": None,
        "encode_format": "jpg",
        "retries": 0,  # the fetch has its own, within the deadline
        "user_agent_token": None,
        "disallowed_header_directives": None,
    }


def _writer(args: Sequence[Any], kwargs: Mapping[str, Any], column: str | None) -> SampleWriter:
    """img2dataset's writer, whose tars tell no time; `column` is one more of text in the shard's parquet."""
    from img2dataset.writer import WebDatasetSampleWriter

    bound = inspect.signature(WebDatasetSampleWriter).bind(*args, **kwargs)
    if column is not None:
        import pyarrow as pa

        bound.arguments["schema"] = bound.arguments["schema"].append(pa.field(column, pa.string()))
    writer = WebDatasetSampleWriter(*bound.args, **bound.kwargs)
    writer.tarwriter.mtime = 0
    return writer


# --- what all this leans on ---

# What `Downloader.download_shard` has to call, and how.
_CALLS = (
    *("download_image_with_retry(", "timeout=self.timeout", "self.resizer(img_stream"),
    *("self.sample_writer_class(", "sample_writer.write(", "sample_writer.close()", "write_stats("),
)


def missing_parts() -> list[str]:
    """What this module leans on and the installed img2dataset lacks. Raises ImportError without any."""
    _quieten()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its libraries talk to programmers
        from img2dataset import downloader, writer
    missing = [
        name for name in ("download_image", "Downloader", "write_stats") if not hasattr(downloader, name)
    ]
    if missing:
        return missing
    source = inspect.getsource(downloader.Downloader.download_shard)
    settings = MakerSettings(Path(), (), 10, 1, FetchSettings(), Limits())
    ours = _downloader_arguments(ShardJob(0, Path()), settings)
    return [
        *(part for part in _CALLS if part not in source),
        *_refused(downloader.Downloader, ("sample_writer_class", "resizer", "timeout", *ours)),
        *_refused(writer.WebDatasetSampleWriter, ("schema",)),
        *_refused(writer.WebDatasetSampleWriter.write, ("img_str", "key", "caption", "meta")),
    ]


def _refused(function: Callable[..., Any], names: Iterable[str]) -> list[str]:
    """The arguments that we pass and `function` does not take."""
    taken = inspect.signature(function).parameters
    return [f"{function.__qualname__}({name}=)" for name in names if name not in taken]
