"""The named errors of `visunex-generate`."""

from visunex.base.errors import UsageError, VisunexError

__all__ = [
    "CheckpointError",
    "EmbeddingSizeError",
    "GenerateError",
    "OutputError",
    "PictureError",
    "SteeringError",
    "UsageError",
]


class GenerateError(VisunexError):
    """Anything of `visunex-generate` that a user can cause."""


class SteeringError(GenerateError):
    """A personalisation that cannot be computed."""


class EmbeddingSizeError(SteeringError):
    """An aesthetic embedding of another tower than the model's."""


class CheckpointError(GenerateError):
    """A model that is not there, or cannot be read."""


class OutputError(GenerateError):
    """Pictures that cannot be written (a full disk, a folder that went away)."""


class PictureError(GenerateError):
    """A picture that does not say how it was made."""
