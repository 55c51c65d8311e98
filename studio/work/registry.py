"""Desks that pages have opened, by number: the last few stay in memory."""

import threading
from collections import OrderedDict
from itertools import count

from visunex.base.errors import UsageError

from .desk import Desk, lay_out

__all__ = ["Desks"]

_MOST = 8  # desks in memory: of 2000 pictures one takes some 15 MB


class Desks:
    """Opened desks; each has a number, which names it in a page's addresses."""

    def __init__(self) -> None:
        self._held: OrderedDict[int, Desk] = OrderedDict()
        self._numbers = count(1)
        self._changing = threading.Lock()

    def open(self, name: str) -> int:
        """Lay out a run by its name, as it is now; its number. Raises what `lay_out` does."""
        desk = lay_out(name)
        with self._changing:
            number = next(self._numbers)
            self._held[number] = desk
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        return number

    def of(self, number: int) -> Desk:
        """The desk of a number. Raises UsageError for one that was put away."""
        with self._changing:
            if number in self._held:
                self._held.move_to_end(number)
                return self._held[number]
        raise UsageError("this taste was put away meanwhile: go back and open it again")
