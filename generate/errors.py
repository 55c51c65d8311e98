"""The named errors of `visunex-generate`."""

from visunex.base.errors import UsageError, VisunexError

__all__ = [
    "AdditionError",
    "CheckpointError",
    "EmbeddingSizeError",
    "GenerateError",
    "ImageTextError",
    "MemoryShortageError",
    "OutputError",
    "SamplingError",
    "SteeringError",
    "UsageError",
]


class GenerateError(VisunexError):
    """Anything of `visunex-generate` that a user can cause."""


class SteeringError(GenerateError):
    """A personalisation that cannot be computed."""


class EmbeddingSizeError(SteeringError):
    """An aesthetic embedding of another CLIP than the model's."""


class SamplingError(GenerateError):
    """Images that cannot be computed: values that are not finite."""


class MemoryShortageError(GenerateError):
    """A model or a batch that does not fit into the memory of its device."""


class CheckpointError(GenerateError):
    """A model that is not there, or cannot be read."""


class AdditionError(GenerateError):
    """What was to be added to a model, and is not there, cannot be read or does not fit."""


class OutputError(GenerateError):
    """Images that cannot be written (a full disk, a folder that went away)."""


class ImageTextError(GenerateError):
    """An image that does not say how it was made."""
