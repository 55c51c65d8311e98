"""How a process keeps the memory of large arrays that it makes over and over."""

import ctypes
import sys

__all__ = ["keep_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = (2**25, 2**28)  # bytes of a block that is kept; older C libraries take no more than the first


def keep_memory(most: int = 2**28) -> None:
    """Have the C library keep up to `most` bytes (below 2 GiB) that are free for the next picture or batch.

    Without, glibc returns each large block to the system and gets it anew, page by page: that can
    take as long as decoding a picture, and adds to every step of a UNet. Other C libraries are left alone.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for largest in _LARGEST:
            libc.mallopt(_M_MMAP_THRESHOLD, largest)
        libc.mallopt(_M_TRIM_THRESHOLD, most)
