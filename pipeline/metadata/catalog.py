"""The data sets that a recipe can name; `catalog.toml` says of each where it lies and what is in it."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DataSet", "data_set", "data_sets"]


@dataclass(frozen=True)
class DataSet:
    """A data set of the catalog; see `catalog.toml` for what the fields mean."""

    name: str
    about: str
    addresses: tuple[str, ...]
    predictor: str | None = None
    rows: int | None = None
    checked: str = "not verified"
    note: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def data_sets() -> Mapping[str, DataSet]:
    """All data sets of the catalog, by name."""
    entries = tomllib.loads((Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8"))
    return {
        name: DataSet(name, **{**entry, "addresses": tuple(entry["addresses"])})
        for name, entry in entries.items()
    }


def data_set(name: str) -> DataSet | None:
    """The data set of that name, if there is one; a path or an address never is, and spares reading them."""
    return None if "/" in name else data_sets().get(name)
