"""The named errors of the encoders."""

from visunex.base.errors import VisunexError

__all__ = ["DeviceMemoryError", "ModelError"]


class ModelError(VisunexError):
    """A model that is unknown, does not fit its weights, or whose weights are not here and cannot be had."""


class DeviceMemoryError(VisunexError):
    """A batch that does not fit into the memory of its device."""
