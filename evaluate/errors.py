"""The named errors of `visunex-evaluate`."""

from visunex.base.errors import UsageError, VisunexError

__all__ = ["EvaluateError", "UsageError"]


class EvaluateError(VisunexError):
    """Something that cannot be measured as asked for, or a folder that cannot be written or read."""
