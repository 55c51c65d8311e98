"""The machine a process runs on: its cores, how it keeps memory, and whether that fell short."""

import ctypes
import errno
import os
import sys

__all__ = ["cores", "free_memory", "is_memory_shortage", "keep_memory"]

_SHORTAGE = ("out of memory", "allocate memory", "not enough memory", "DefaultCPUAllocator", "ALLOC_FAILED")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = (2**25, 2**28)  # bytes of a block that is kept; older C libraries take no more than the first


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that a process may still take, swap among them; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            rows = dict(line.split(":", 1) for line in file)
        return 1024 * sum(int(rows[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError):
        return None


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


def is_memory_shortage(error: BaseException) -> bool:
    """Whether memory did not suffice: Python's, the system's, or torch's on any device in words alone."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORTAGE)
    )
