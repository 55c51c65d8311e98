"""How a process keeps the memory of large arrays that it makes over and over."""

import ctypes
import sys

__all__ = ["keep_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT = (2**25, 2**28)  # bytes; older C libraries take no more than the first


def keep_memory() -> None:
    """Have the C library keep up to 256 MiB that are free for the next picture or batch.

    Without, glibc returns each large block to the system and gets it anew, page by page: that can
    take as long as decoding itself. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for kept in _KEPT:
            libc.mallopt(_M_MMAP_THRESHOLD, kept)
            libc.mallopt(_M_TRIM_THRESHOLD, kept)
