"""What files made of something else have in common: a position that reading moves."""

import io

__all__ = ["Positioned"]


class Positioned(io.RawIOBase):
    """A file that is read and sought; subclasses say how."""

    def __init__(self) -> None:
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, as far as the subclass can."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position
