"""What a loader is to the fuzzing: inputs to begin with, and how one is read."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .mutations import mutated

__all__ = ["LOADERS", "Loader", "Seed", "loader"]

_FORMS = {"json": "json", "toml": "toml", "jsonl": "jsonl", "csv": "text", "tsv": "text", "txt": "text"}


@dataclass(frozen=True)
class Seed:
    """A sound input: the bytes that are bent, and how the file is made of them (packed, say)."""

    file: str
    data: bytes
    pack: Callable[[bytes], bytes] = bytes
    form: str = ""

    def bent(self, dice: random.Random) -> bytes:
        """The bytes of a file made of bent data."""
        form = self.form or _FORMS.get(self.file.rpartition(".")[2], "binary")
        return bytes(self.pack(mutated(self.data, form, dice)))


@dataclass(frozen=True)
class Loader:
    """How inputs of a kind are read; `read` gets the path of the bent file.

    `seeds` makes them in a folder, where it may leave what lies beside them. `share` is the part of the
    inputs asked for that a slow one gets. `in_use` is how a command reads what `read` may not survive: by a
    process that is watched.
    """

    name: str
    seeds: Callable[[Path], Iterable[Seed]]
    read: Callable[[Path], Any]
    share: float = 1.0
    in_use: Callable[[Path], Any] | None = None


LOADERS: dict[str, Loader] = {}


def loader(
    name: str, seeds: Callable[[Path], Iterable[Seed]], **more: Any
) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Register the decorated function as the reader of a kind of input."""

    def register(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        LOADERS[name] = Loader(name, seeds, read, **more)
        return read

    return register
