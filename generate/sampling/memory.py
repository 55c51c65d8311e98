"""Memory that does not suffice becomes a sentence on what takes less."""

import contextlib
from collections.abc import Iterator

from visunex.base.machine import is_memory_shortage

from ..errors import MemoryShortageError

__all__ = ["enough_memory"]


@contextlib.contextmanager
def enough_memory(what: str, device: str, *less: str) -> Iterator[None]:
    """Raise MemoryShortageError in the place of what memory that does not suffice raises in the block.

    It names `what` does not fit, and in the command's options what takes `less`.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_memory_shortage(error):
            raise
        on_gpu = () if device.startswith("cpu") else ("--lowvram", "--precision autocast", "--device cpu")
        raise MemoryShortageError(
            f"{what} does not fit into the memory of {device}: try {', '.join((*less, *on_gpu))}"
        ) from None
