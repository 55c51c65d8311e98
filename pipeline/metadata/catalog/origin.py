"""Which of a data set's places is taken: its own address, else a copy, else the part of a larger set.

A set that is gated is not passed over for a copy: copies are older than what was cleaned since.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from visunex.net.errors import FetchError

from ...errors import SourceError
from .entries import DataSet, data_set

__all__ = ["Origin", "first_found"]

T = TypeVar("T")
Kind = Literal["original", "copy", "larger set", "partial copy"]


@dataclass(frozen=True)
class Origin:
    """Where the rows of the data set `name` are taken from, and what of them belong to it.

    `passed_over` says why places before it were not taken. Of a larger set's rows those that score at least
    `min_score` belong; none above `max_punsafe` is taken, unless the recipe says otherwise.
    """

    name: str
    kind: Kind
    address: str
    passed_over: tuple[str, ...] = ()
    min_score: float | None = None
    max_punsafe: float | None = None

    def identity(self) -> list[dict[str, Any]]:
        """What of it a selection depends on, beside the files' contents; JSON."""
        bounds = {"min_score": self.min_score, "max_punsafe": self.max_punsafe}
        kept = {name: bound for name, bound in bounds.items() if bound is not None}
        return [kept] if kept else []

    def __str__(self) -> str:
        """What was taken, for a person."""
        if self.kind == "original":
            return f"{self.name} from {self.address}"
        why = f" (not from {'; not from '.join(self.passed_over)})" if self.passed_over else ""
        rows = "" if self.min_score is None else f"the rows with a score >= {self.min_score:g} of "
        return f"{self.name} from {rows}the {self.kind} {self.address}{why}"


def first_found(named: DataSet, find: Callable[[str], T]) -> tuple[T, Origin]:
    """What `find` gives for the first address of a data set that can be read, and which that is.

    Raises SourceError: none can be read, or the original is gated. Where the Hub is out of reach it is not
    asked for each.
    """
    failures: dict[str, str] = {}
    hub_is_there = True
    for kind, address, min_score in _places(named):
        if address.startswith("hf://") and not hub_is_there:
            continue
        try:
            found = find(address)
        except SourceError as error:
            if kind == "original" and _is_gated(error):
                raise SourceError(_gated(named, error)) from error
            failures[address] = str(error)
            hub_is_there = hub_is_there and not _is_out_of_reach(error)
        else:
            before = tuple(failures.values())
            return found, Origin(named.name, kind, address, before, min_score, named.max_punsafe)
    raise SourceError(_nowhere(named, failures))


def _places(named: DataSet) -> Iterator[tuple[Kind, str, float | None]]:
    for address in named.addresses:
        yield "original", address, None
    for address in named.copies:
        yield "copy", address, None
    for larger in named.otherwise:
        if (source := data_set(larger.source)) is not None:
            for address in source.addresses:
                yield "larger set", address, larger.min_score


def _is_out_of_reach(error: SourceError) -> bool:
    cause = error.__cause__
    return isinstance(cause, FetchError) and cause.status is None and cause.kind != "hub"


def _is_gated(error: SourceError) -> bool:
    return isinstance(error.__cause__, FetchError) and error.__cause__.kind == "gated"


def _gated(named: DataSet, error: SourceError) -> str:
    others = [*named.copies, *(address for kind, address, _ in _places(named) if kind == "larger set")]
    if not others:
        return f"{named.name} cannot be read: {error}"
    return (
        f"{named.name} cannot be read: {error}.\nCopies of it are older and not cleaned, so none is taken in "
        f"its place; to take one nevertheless, give it as SOURCE: {', '.join(others)}"
    )


def _nowhere(named: DataSet, failures: dict[str, str]) -> str:
    note = f" ({named.note})" if named.note else ""
    places: dict[str, list[str]] = {}
    for address, failure in failures.items():
        places.setdefault(failure.removeprefix(f"{address}: "), []).append(address)
    reasons = "; ".join(f"{', '.join(at)}: {why}" for why, at in places.items())
    larger = ", or a larger LAION-aesthetics set with --min-score 6.5" if named.predictor == "V2" else ""
    command = f": {named.command}" if named.command and not named.addresses else ""
    parts = "".join(f"\nA part of it is {place}: {what}" for place, what in named.partial.items())
    return (
        f"{named.name} cannot be read{note}: {reasons or 'it has no address of its own'}.\n"
        f"Give a local copy or a mirror instead (visunex-data filter PATH_OR_URL){larger}{command}{parts}"
    )
