"""The named errors of the pipeline."""

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
