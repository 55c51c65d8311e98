"""Progress that a person or a log can read: lines with bars on a terminal, plain lines elsewhere."""

import shutil
import sys
import textwrap
import threading
import time
from types import TracebackType
from typing import Protocol, Self

import click

from .text import is_terminal, printable

__all__ = ["NoProgress", "Progress", "ProgressLike", "human_time"]

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 5.0  # between two lines


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


def _wrapped(line: str) -> str:
    """A line in lines of the terminal's width, broken between words."""
    return textwrap.fill(line, max(1, shutil.get_terminal_size().columns - 1), break_long_words=False)


class Progress:
    """Rate and ETA on stderr: a bar that moves on a terminal, a plain line every few seconds elsewhere.

    `total` None means unknown: then there is a count and a rate and no ETA. Several may be at work, also in
    threads of their own: on a terminal each has its line.

    Example: `with Progress("download", 2000) as progress: progress.advance(1, "3 failed")`
    """

    def __init__(self, what: str, total: int | None, unit: str = "images") -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.note = ""
        self._counting = threading.Lock()
        self._terminal = is_terminal(sys.stderr)
        self._every = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        self._start = self._shown = time.monotonic()
        self._drawn = False

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
            self._draw()

    def head(self) -> str:
        """What is done, and how much of it: `download: 3/9 images`."""
        count = str(self.done) if self.total is None else f"{self.done}/{self.total}"
        return printable(f"{self.what}: {count} {self.unit}")

    def speed(self) -> list[str]:
        """The rate, and the time left where that can be known."""
        rate = self.done / max(time.monotonic() - self._start, 1e-9)
        parts = [f"{rate:.1f}/s" if rate >= 1 or not self.done else f"{1 / rate:.1f}s each"]
        if self.total and 0 < self.done < self.total:
            parts.append(f"{human_time((self.total - self.done) / rate)} left")
        return parts

    def line(self) -> str:
        """The progress line: count, rate, ETA, remark."""
        return ", ".join([self.head(), *self.speed(), *([printable(self.note)] if self.note else [])])

    def _draw(self) -> None:
        if self._terminal:
            from .terminal import display

            self._drawn = True
            display.draw(self)
        else:
            click.echo(self.line(), err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not (self.done or self._drawn):
            return  # there was nothing to do, nor to tell
        # What was over at once needs no rich, unless lines of others are on the terminal.
        if self._terminal and (self._drawn or f"{__package__}.terminal" in sys.modules):
            from .terminal import display

            display.end(self)
        else:
            click.echo(_wrapped(self.line()) if self._terminal else self.line(), err=True)
