"""How much is to be moved from files behind addresses: said before, and refused where it is too much."""

from dataclasses import dataclass

import click

from visunex.base.text import bytes_in, printable, size_shown
from visunex.recipes.defaults import MOST_MOVED

from ..errors import PipelineError

__all__ = ["MOST_MOVED", "Allowance", "Amount"]


@dataclass(frozen=True)
class Amount:
    """Bytes of some `files`, in so many row groups (or record batches) of tables, and other pieces."""

    bytes: int = 0
    files: int = 0
    groups: int = 0
    pieces: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.bytes + other.bytes,
            self.files + other.files,
            self.groups + other.groups,
            self.pieces + other.pieces,
        )

    def __str__(self) -> str:
        parts = [_counted(self.groups, "row group"), _counted(self.pieces, "piece")]
        where = " and ".join(filter(None, parts))
        return f"{size_shown(self.bytes)}{where and f' in {where}'} of {_counted(self.files, 'file')}"


class Allowance:
    """What may be moved from files behind addresses: `most` bytes (10GB), of which some may have been."""

    def __init__(self, most: str, error: type[PipelineError]) -> None:
        self._most, self._error, self._moved = most, error, 0

    def take(self, amount: Amount, what: str) -> None:
        """Say what is to be moved, and count it. Raises the error where it is more than may be moved."""
        click.echo(printable(f"{what}: {amount}"), err=True)
        together = self._moved + amount.bytes
        if together > bytes_in(self._most):
            before = f" ({size_shown(self._moved)} were moved before)" if self._moved else ""
            raise self._error(
                f"{amount} are to be moved{before}, and no more than {self._most} may be: "
                f"--max-remote-bytes {_enough(together)} permits it, or ask for less"
            )
        self._moved = together


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}" if count else ""


def _enough(count: int) -> str:
    """A size that is no less, as an option takes it."""
    unit, name = next(
        each for each in ((10**9, "GB"), (10**6, "MB"), (1, "B")) if count >= each[0] or each[0] == 1
    )
    return f"{-(-count // unit)}{name}"
