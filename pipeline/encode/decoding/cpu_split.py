"""The processor's cores, split between decoding and encoding by what a batch takes of both."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from visunex.base.machine import cores

from .decode_pool import Decoders

__all__ = ["CpuSplit", "CpuSplitter", "split_cpu"]

T = TypeVar("T")

_MARGIN = 1.25  # decoders beyond what a GPU needs on the average


@dataclass(frozen=True)
class CpuSplit:
    """How many processes decode, and how many threads the encoder has."""

    decoders: int
    threads: int


def split_cpu(cores: int, threads: int, decode: float, encode: float, *, on_cpu: bool) -> CpuSplit:
    """The split for images that take `decode` seconds of a core, and `encode` seconds with `threads`.

    Where decoding takes a core or more of a CPU's, it gets them for itself. Where less, it runs between the
    steps of the encoder, which then has them all, in processes enough to burden the cores alike.
    """
    if not on_cpu:
        return CpuSplit(max(1, min(cores - 1, math.ceil(_MARGIN * decode / encode))), threads)
    for_decoding = cores * decode / (decode + encode * threads)
    if for_decoding < 1:
        return CpuSplit(min(cores, math.ceil(4 * for_decoding)), threads)
    own = min(round(for_decoding), cores - 1)
    return CpuSplit(own, min(threads, cores - own))


class CpuSplitter:
    """Splits the cores between the encoder and `decoders` by what the second batch takes of both.

    Of the cores, `own_cores` are this process's: all, if None. The first batch warms both up. The encoder's
    threads are the process's, and are put back at the end.
    """

    def __init__(self, decoders: Decoders, device: str, own_cores: int | None = None) -> None:
        self._decoders, self._on_cpu = decoders, device == "cpu"
        self._cores = own_cores or cores()
        self._batches, self._threads = 0, 0

    def timed(self, images: int, work: Callable[[], T]) -> T:
        """Have the encoder do its `work` on a batch of so many images, and take the time."""
        began = time.perf_counter()
        result = work()
        self._batches += 1
        if self._batches == 2 and self._decoders.done:
            self._split((time.perf_counter() - began) / images)
        return result

    def put_back(self) -> None:
        """Leave the process with the threads that it had before."""
        import torch

        if self._threads:
            torch.set_num_threads(self._threads)

    def _split(self, encode: float) -> None:
        import torch

        self._threads = torch.get_num_threads()
        decode = self._decoders.seconds / self._decoders.done
        split = split_cpu(self._cores, self._threads, decode, encode, on_cpu=self._on_cpu)
        self._decoders.grow(split.decoders)
        if split.threads != self._threads:
            torch.set_num_threads(split.threads)
