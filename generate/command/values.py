"""What the values of options may be, each kind with its own messages."""

import math
from typing import Any

import click

__all__ = ["Finite", "Folder", "Names", "Numbers", "Share", "Shares", "Whole"]


class Whole(click.IntRange):
    """A whole number within bounds; click would call it an integer range."""

    name = "integer"


class Share(click.FloatRange):
    """A number from 0 to 1; click would call it a float range."""

    name = "number"


class Folder(click.Path):
    """A folder's path. An empty one, as of a variable that is not set, is not the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse `outputs`."""
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


class Finite(click.ParamType[float]):
    """A number that is neither infinite nor NaN, and not below `least`."""

    name = "number"

    def __init__(self, least: float = -math.inf) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse `7.5`."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        if number < self.least:
            self.fail(f"{value!r} is less than {self.least:g}", param, ctx)
        return number


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers from 0, separated by commas."""

    name = "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse `0,5,8` into `(0, 5, 8)`."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() for part in parts):
            self.fail(f"{value!r} is not a list of numbers of steps such as 0,5,8,20", param, ctx)
        return tuple(map(int, parts))


class Shares(click.ParamType[tuple[float, ...]]):
    """Numbers from 0 to 1, separated by commas."""

    name = "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse `0,0.5,1`."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of weights such as 0,0.5,1", param, ctx)
        if not all(0 <= number <= 1 for number in found):
            self.fail(f"{value!r} has a weight that is not from 0 to 1", param, ctx)
        return found


class Names(click.ParamType[tuple[str, ...]]):
    """Names or paths, separated by commas."""

    name = "NAME,NAME,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Parse `a,b` into `("a", "b")`."""
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail(f"{value!r} is not a list of names such as fantasy,sac_8plus", param, ctx)
        return names
