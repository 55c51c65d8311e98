"""The named errors of the pipeline."""

from visunex.base.errors import FewerImagesError, UsageError, VisunexError
from visunex.clip.errors import ModelError

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
