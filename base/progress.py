"""Progress that a person or a log can read: a redrawn line on a terminal, plain lines elsewhere."""

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Protocol, Self

import click

__all__ = ["NoProgress", "Progress", "ProgressLike", "human_time"]


class ProgressLike(Protocol):
    """What work tells how far it is: `Progress`, or what passes it on or drops it."""

    def advance(self, count: int = 1) -> None:
        """Count `count` more units as done."""

    def skip(self, count: int) -> None:
        """Expect `count` units fewer: there was nothing to do for them."""


class NoProgress:
    """Progress that is shown to nobody."""

    def advance(self, count: int = 1) -> None:
        """Count nothing."""

    def skip(self, count: int) -> None:
        """Count nothing."""


def human_time(seconds: float) -> str:
    """Seconds as people say them: `45s`, `3m20s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Rate and ETA on stderr: a line redrawn on a terminal, a plain line every few seconds elsewhere.

    `total` None means unknown: then there is a count and a rate and no ETA. Several may be at work, also in
    threads of their own: on a terminal each has its line.
    """

    def __init__(self, what: str, total: int | None, unit: str = "images") -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.note = ""
        self._counting = threading.Lock()
        self._terminal = sys.stderr.isatty()
        self._every = 0.2 if self._terminal else 5.0
        self._start = self._shown = time.monotonic()

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count `count` more units as done; `note` replaces the remark at the end of the line."""
        with self._counting:
            self.update(self.done + count, note)

    def skip(self, count: int) -> None:
        """Expect `count` units fewer: there was nothing to do for them, and the rate is of what is done."""
        with self._counting:
            self.total = None if self.total is None else self.total - count

    def update(self, done: int, note: str | None = None) -> None:
        """Set the number of units done."""
        self.done = done
        self.note = self.note if note is None else note
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self._print()

    def line(self) -> str:
        """The progress line: count, rate, ETA, remark."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = self.done / seconds
        parts = [f"{self.done}/{self.total}" if self.total is not None else str(self.done)]
        parts[0] += f" {self.unit}"
        parts.append(f"{rate:.1f}/s" if rate >= 1 or not self.done else f"{1 / rate:.1f}s each")
        if self.total and 0 < self.done < self.total:
            parts.append(f"{human_time((self.total - self.done) / rate)} left")
        if self.note:
            parts.append(self.note)
        return f"{self.what}: " + ", ".join(parts)

    def _print(self, *, last: bool = False) -> None:
        with _drawing:
            if self._terminal:
                click.echo(_redrawn(self, last=last), err=True, nl=False)
            else:
                click.echo(self.line(), err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.done or self in _drawn:  # else there was nothing to do, nor to tell
            self._print(last=True)


_drawing = threading.Lock()
_drawn: list[Progress] = []  # whose lines are on the terminal, from above; the cursor is in the lowest


def _redrawn(changed: Progress, *, last: bool) -> str:
    """What draws all lines anew. A line drawn for the last time moves above the others and stays."""
    to_the_top = "\r" + (f"\x1b[{len(_drawn) - 1}A" if len(_drawn) > 1 else "")
    others = [each for each in _drawn if each is not changed]
    order = [changed, *others] if last or changed not in _drawn else list(_drawn)
    _drawn[:] = others if last else order
    width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be drawn over
    lines = "\n".join(f"\x1b[2K{each.line()[:width]}" for each in order)
    return to_the_top + lines + ("\n" if not _drawn else "")
