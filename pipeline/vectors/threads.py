"""Work on blocks of vectors in threads, while the next ones are read; numpy lets others run meanwhile."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from visunex.base.machine import cores

__all__ = ["in_threads"]

T = TypeVar("T")
R = TypeVar("R")

_MOST = 8  # threads: by then memory is what they wait for
_TOGETHER = 8  # blocks that a thread takes at a time


def in_threads(work: Callable[[T], R], blocks: Iterable[T]) -> Iterator[R]:
    """What `work` gives for each block, in order. The blocks come one after another, in this thread.

    Of blocks and of results so many are held as the threads have at hand, and one more each.
    """
    rest, threads = iter(blocks), min(cores(), _MOST)
    waiting: deque[Future[list[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(rest, _TOGETHER)):
            waiting.append(pool.submit(lambda some=some: [work(each) for each in some]))  # type: ignore[misc]
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
