"""The named errors of `visunex-export`."""

from visunex.base.errors import UsageError, VisunexError

__all__ = ["ExportError", "UsageError"]


class ExportError(VisunexError):
    """An embedding that cannot be made into what is asked for, or a file that cannot be written or read."""
