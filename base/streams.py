"""Standard output and standard error that neither a locale, a full disk nor a closed descriptor can break."""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, cast

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


def prepare_streams() -> None:
    """Make this process's standard streams fit for a command that must finish its work.

    A closed descriptor becomes the null device, so that no file which is opened later takes its number. What
    the locale cannot write becomes an escape. Standard error, which only informs, never fails.
    """
    for number in range(3):
        _occupy(number)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process
    if sys.stdout is sys.__stdout__:
        _escape(sys.stdout)
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


def _escape(stream: IO[str] | None) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _unfailing(stream: IO[str] | None, descriptor: int = 2) -> IO[str]:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    raw = _Unfailing(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True
    )


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
                _Unfailing(real, "w", closefd=False).write(said)
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
