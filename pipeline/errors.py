"""The named errors of the pipeline, and what reading damaged files raises."""

import contextlib
from collections.abc import Iterator

from visunex.base.errors import FewerImagesError, UsageError, VisunexError
from visunex.clip.errors import ModelError
from visunex.net.errors import FetchError

__all__ = [
    "DownloadError",
    "EncodeError",
    "FewerImagesError",
    "FilterError",
    "ModelError",
    "PipelineError",
    "RunBusyError",
    "SourceError",
    "StaleRunError",
    "UsageError",
    "fetch_errors_as",
    "parquet_errors",
]


class PipelineError(VisunexError):
    """Anything of the pipeline's that a user can cause."""


class SourceError(PipelineError):
    """Metadata that cannot be found, reached or read, or that lacks a column."""


class FilterError(PipelineError):
    """A filter that leaves nothing."""


class DownloadError(PipelineError):
    """The download stage cannot go on (a full disk, a folder that went away)."""


class EncodeError(PipelineError):
    """Nothing to encode, or vectors that do not belong together."""


class RunBusyError(PipelineError):
    """Another process works on this run folder."""


class StaleRunError(PipelineError):
    """The run folder holds results made from something else than what is asked for now."""


@contextlib.contextmanager
def fetch_errors_as(kind: type[PipelineError]) -> Iterator[None]:
    """Within it, or in a function it decorates, what cannot be fetched is an error of this kind."""
    try:
        yield
    except FetchError as error:
        raise kind(error.message) from error


def parquet_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """The errors of pyarrow, whose import is not for free, and of Python beneath it: on a damaged file any.

    Bytes that are no UTF-8 raise ValueError, missing columns LookupError, lengths beyond a machine's
    OverflowError. `more` are those of what else is read with it.
    """
    import pyarrow as pa

    return (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        MemoryError,
        NotImplementedError,
        *more,
    )
