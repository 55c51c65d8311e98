"""The published embeddings: names, addresses, checksums."""

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from visunex.base.errors import require
from visunex.base.suggest import did_you_mean

from .errors import EmbeddingError
from .fetching import PinnedFile

FOLDER = "aesthetic_embeddings"  # of the publisher's repository, and of a mirror
_MOST = 1 << 20  # bytes

Kind = Literal["mean", "contrast", "unknown"]


@dataclass(frozen=True)
class Published:
    """One published embedding. `kind` says how it was reduced, `shape` is that of the tensor in the file."""

    name: str
    url: str
    sha256: str
    shape: tuple[int, ...]
    kind: Kind
    description: str

    @property
    def file(self) -> PinnedFile:
        """The published file."""
        return PinnedFile(
            self.name,
            f"{FOLDER}/{self.name}.pt",
            f"embeddings/{self.name}.pt",
            self.url,
            self.sha256,
            _MOST,
            "an embedding is a few kB",
        )


@functools.cache
def catalogue() -> dict[str, Published]:
    """The published embeddings by name."""
    data = tomllib.loads(resources.files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))
    return {
        name: Published(
            name=name,
            url=f"{data['base']}/{name}.pt",
            sha256=entry["sha256"],
            shape=tuple(entry["shape"]),
            kind=entry["kind"],
            description=entry["description"],
        )
        for name, entry in data["embeddings"].items()
    }


def published(name: str) -> Published:
    """The catalogue's entry called `name`. Raises EmbeddingError, which lists the names there are."""
    require(name, "an embedding's name", str, "one of the published names", EmbeddingError)
    try:
        return catalogue()[name]
    except KeyError:
        raise EmbeddingError(
            f"no published embedding is called {name!r}: {did_you_mean(name, catalogue())}"
            f"there are {', '.join(catalogue())}"
        ) from None
