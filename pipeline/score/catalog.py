"""The published predictors by name, from `catalog.toml`."""

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.aesthetic_embeddings.fetching import PinnedFile
from visunex.base.suggest import did_you_mean

from ..errors import UsageError

__all__ = ["Predictor", "named", "predictors"]

_MOST = 16 << 20  # bytes


@dataclass(frozen=True)
class Predictor:
    """A published head over unit vectors of `dimension` of a `model`; `layout` says how its file holds it."""

    name: str
    url: str
    sha256: str
    description: str
    scale: str
    license: str
    model: tuple[str, str]
    dimension: int
    layout: Mapping[str, Any]

    @property
    def file(self) -> PinnedFile:
        """The published file."""
        path = f"predictors/{self.url.rpartition('/')[2]}"
        return PinnedFile(
            f"predictor {self.name}", path, path, self.url, self.sha256, _MOST, "a predictor is a few MB"
        )


@functools.cache
def predictors() -> Mapping[str, Predictor]:
    """The published predictors by name."""
    entries = tomllib.loads((Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8"))
    return {name: _predictor(name, entry) for name, entry in entries.items()}


def _predictor(name: str, entry: dict[str, Any]) -> Predictor:
    fields = Predictor.__dataclass_fields__.keys() & entry.keys()
    layout = {key: value for key, value in entry.items() if key not in fields}
    return Predictor(
        name=name,
        layout=layout,
        **{key: entry[key] for key in fields if key != "model"},
        model=tuple(entry["model"]),
    )


def named(names: Iterable[str]) -> list[Predictor]:
    """The predictors of these names, whatever their case, each once. Raises UsageError."""
    names = list(names)
    if not names:
        raise UsageError(f"no predictor is named: there are {', '.join(predictors())}")
    by_name = {name.casefold(): each for name, each in predictors().items()}
    for name in names:
        if name.casefold() not in by_name:
            raise UsageError(
                f"no predictor is called {name!r}: {did_you_mean(name, predictors())}"
                f"there are {', '.join(predictors())}"
            )
    return list({name.casefold(): by_name[name.casefold()] for name in names}.values())
