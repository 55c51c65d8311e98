"""The catalogue's entries; `sets.toml` says of each data set where it lies and what is in it."""

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["DataSet", "Larger", "bounded_at", "data_set", "data_sets", "partial_copy", "vectors_of_named"]


@dataclass(frozen=True)
class Larger:
    """A data set of the catalogue, `source`, whose rows with a score of at least `min_score` are another."""

    source: str
    min_score: float


@dataclass(frozen=True)
class DataSet:
    """A data set of the catalogue; see `sets.toml` for what the fields mean."""

    name: str
    about: str
    addresses: tuple[str, ...]
    predictor: str | None = None
    rows: int | None = None
    exact: bool = False
    scores: tuple[float, float] | None = None
    pairs: Mapping[str, float] = field(default_factory=dict)
    copies: tuple[str, ...] = ()
    partial: Mapping[str, str] = field(default_factory=dict)
    otherwise: tuple[Larger, ...] = ()
    max_punsafe: float | None = None
    images: Literal["links", "inside"] = "links"
    vectors: str = ""
    vectors_at: str = ""
    licence: str = "not verified"
    gated: bool = False
    hash: Literal["md5", "sha256"] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    checked: str = "not verified"
    note: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def data_sets() -> Mapping[str, DataSet]:
    """All data sets of the catalogue, by name."""
    entries = tomllib.loads((Path(__file__).parent / "sets.toml").read_text(encoding="utf-8"))
    return {name: _entry(name, fields) for name, fields in entries.items()}


def _entry(name: str, fields: Mapping[str, Any]) -> DataSet:
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
    }
    larger = tuple(Larger(**each) for each in plain.pop("else", ()))
    return DataSet(name, otherwise=larger, **plain)


def data_set(name: str) -> DataSet | None:
    """The data set of that name, if there is one; a path or an address never is, and spares reading them."""
    return None if "/" in name else data_sets().get(name)


def partial_copy(address: str) -> str | None:
    """What a person must know of an address (or OWNER/NAME) that holds a part of a known set; else None."""
    asked = _repository(address)
    for named in data_sets().values():
        for place, what in named.partial.items():
            if asked == _repository(place):
                return f"{asked} is a partial copy of {named.name}: {what}"
    return None


def bounded_at(address: str) -> tuple[DataSet, Literal["original", "copy", "partial copy"]] | None:
    """The set with a bound on unsafe rows that lies at an address or OWNER/NAME, and as what; else None."""
    asked = _repository(address)
    for named in data_sets().values():
        if named.max_punsafe is None:
            continue
        if asked in map(_repository, named.addresses):
            return named, "original"
        if asked in map(_repository, named.copies):
            return named, "copy"
        if asked in map(_repository, named.partial):
            return named, "partial copy"
    return None


def vectors_of_named(address: str) -> str | None:
    """Where the vectors lie of a known set whose repository an address names, at the revision they fit."""
    places = (named.vectors_at for named in data_sets().values() if named.vectors_at)
    return next((place for place in places if _repository(place) == _repository(address)), None)


def _repository(address: str) -> str:
    """The OWNER/NAME of an address on the Hub; of any other, the address."""
    path = address.removeprefix("hf://").removeprefix("datasets://").removeprefix("datasets/")
    return path if "://" in path else "/".join(re.split(r"[@?]", path, maxsplit=1)[0].split("/")[:2])
