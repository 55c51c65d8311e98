"""Standard output and error that no locale, full disk, closed descriptor or text from outside can break."""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, cast

from .text import printable

__all__ = ["native_messages_held", "prepare_streams"]

_PANIC = b"panicked at"


class _Unfailing(io.FileIO):
    """A descriptor whose failed writes are taken as done: what is told is worth less than the work."""

    def write(self, data: object, /) -> int:
        """Write `data`; where that fails (disk full, reader gone), it is as if it had been written."""
        try:
            return cast(int, super().write(data))  # type: ignore[arg-type]
        except OSError:
            return len(memoryview(data))  # type: ignore[arg-type]


class _FailingOnce(io.FileIO):
    """A descriptor of which one failed write is said: no more come when the interpreter ends."""

    _failed = False

    def write(self, data: object, /) -> int:
        """Write `data`, or raise OSError; after that it is as if all were written."""
        if self._failed:
            return len(memoryview(data))  # type: ignore[arg-type]
        try:
            return cast(int, super().write(data))  # type: ignore[arg-type]
        except OSError:
            self._failed = True
            raise


class _Printable(io.TextIOWrapper):
    """A stream for a person's terminal, which gets no control characters, whoever writes to it.

    Our messages, click's, tracebacks, warnings and the logs of libraries all come this way. Only rich, which
    draws, writes to `rich_proxied_file`: that is how its consoles ask for the file behind a stream.
    """

    buffer = None  # type: ignore[assignment]  # click would write past us where the locale is ASCII

    def __init__(self, raw: io.FileIO, like: IO[str] | None, *, line_buffering: bool) -> None:
        encoding = getattr(like, "encoding", None) or "utf-8"
        files = [io.BufferedWriter(raw), io.BufferedWriter(raw)]
        super().__init__(files[0], encoding, "backslashreplace", line_buffering=line_buffering)
        self.rich_proxied_file = io.TextIOWrapper(files[1], encoding, "backslashreplace", line_buffering=True)

    def write(self, text: str, /) -> int:
        """Write `text`, with � for each control character in it."""
        super().write(printable(text))
        return len(text)


def prepare_streams() -> None:
    """Make this process's standard streams fit for a command that must finish its work.

    A closed descriptor becomes the null device, so that no file which is opened later takes its number. What
    the locale cannot write becomes an escape, a control character �. Standard error, which only informs,
    never fails.
    """
    for number in range(3):
        _occupy(number)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process
    if sys.stdout is sys.__stdout__:
        raw = _FailingOnce(1, "w", closefd=False)
        sys.stdout = _Printable(raw, sys.stdout, line_buffering=raw.isatty())
    if sys.stderr is sys.__stderr__:
        sys.stderr = _unfailing(sys.stderr)


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _unfailing(stream: IO[str] | None, descriptor: int = 2) -> IO[str]:
    return _Printable(_Unfailing(descriptor, "w", closefd=False), stream, line_buffering=True)


@contextlib.contextmanager
def native_messages_held() -> Iterator[None]:
    """What libraries of C and Rust print to standard error in the block comes at its end.

    It never comes when the block fails, or when it is a panic: a library prints a traceback before its error
    can be caught and said in plain words. Our own messages (`sys.stderr`) come as ever.
    """
    try:
        real = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            with _descriptor_2_is(held.fileno(), real):
                yield
            held.seek(0)
            said = held.read()
            if _PANIC not in said:
                with _unfailing(sys.stderr, real) as stream:
                    stream.write(said.decode("utf-8", errors="replace"))
    finally:
        os.close(real)


@contextlib.contextmanager
def _descriptor_2_is(descriptor: int, real: int) -> Iterator[None]:
    """Descriptor 2 is another file in the block; `sys.stderr` still writes to the `real` one."""
    own = sys.stderr
    with contextlib.suppress(AttributeError, OSError, ValueError):  # it may be anything, or closed
        own.flush()
        if own.fileno() == 2:
            sys.stderr = _unfailing(own, real)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stderr.flush()
        os.dup2(real, 2)
        sys.stderr = own
