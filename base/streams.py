"""Standard output and standard error that neither a locale, a full disk nor a closed descriptor can break."""

import io
import os
import sys
from typing import IO, cast

__all__ = ["prepare_streams"]


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


def _unfailing(stream: IO[str] | None) -> IO[str]:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    raw = _Unfailing(2, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True
    )
