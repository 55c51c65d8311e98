"""A checkpoint's file (.safetensors or .ckpt) -> its tensors by name, without running code in it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from visunex.base.errors import first_line
from visunex.base.machine import is_memory_shortage
from visunex.base.torch_files import TorchFileError, stand_ins

from ..errors import CheckpointError
from .formats import format_of
from .headers import is_safetensors
from .kinds import accepted, kind_of, outline

__all__ = ["SUFFIXES", "Weights", "load_plain", "numbers_in", "read_weights", "reading", "tensors_in"]

MOST_NESTED = 8  # dictionaries in one another
NESTED = ("state_dict", "model_state_dict", "model", "module")  # what trainers call the weights
SUFFIXES = frozenset({".safetensors", ".ckpt", ".pt"})

Weights = Mapping[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or, loaded by torch's weights-only reader, of a `.ckpt`, by name.

    Raises CheckpointError for what is not there or not whole, is no such file, or asks for code to be run.
    """
    with reading(path, "a checkpoint"):
        if other := format_of(path):
            raise TorchFileError(f"is {other.what}: {other.advice}")
        whole = load_plain(path)
        if isinstance(whole, dict) and not whole and is_safetensors(path):
            raise TorchFileError("holds no weights: fetch it again, or give --model another")
        return tensors_in(whole, path) or _refuse(whole, path)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Raise CheckpointError, which says what a file cannot be read as, for whatever the libraries raise."""
    try:
        yield
    except TorchFileError as error:
        raise CheckpointError(f"{path} cannot be read as {what}: it {error}") from None
    except CheckpointError:
        raise
    except Exception as error:
        if is_memory_shortage(error):
            raise
        raise CheckpointError(f"{path} cannot be read as {what}: {_reason(path, error)}") from None


def load_plain(path: Path) -> Any:
    """What a file holds, whatever it is called, as it is nested there; raises what the libraries do."""
    if is_safetensors(path):
        from safetensors.torch import load_file

        return load_file(path)
    with path.open("rb") as file, stand_ins(file):
        return _loaded(path)


def tensors_in(whole: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name in what the file `path` held, of the dictionaries in one another the innermost.

    Raises CheckpointError for one that claims more numbers than the file holds.
    """
    found = _innermost(whole)
    return {name: value for name, value in found.items() if isinstance(name, str) and _is_plain(value, path)}


def _refuse(whole: Any, path: Path) -> NoReturn:
    """Raise what says that a file holds no weights, and what instead."""
    kind = kind_of(outline(whole))
    if kind and not kind.family:
        accepted(kind, str(path))
    raise TorchFileError(
        f"holds {_described(whole)}, not the weights of a model: save its state_dict() as safetensors"
    )


def _innermost(whole: Any) -> dict[Any, Any]:
    """The dictionary in which the weights are, of those that a trainer put around it."""
    found = whole
    for _ in range(MOST_NESTED):
        inner = (
            [found[name] for name in NESTED if isinstance(found.get(name), dict)]
            if isinstance(found, dict)
            else []
        )
        if not inner:
            break
        found = inner[0]
    return found if isinstance(found, dict) else {}


def _described(whole: Any) -> str:
    if isinstance(whole, dict | list | tuple):
        return f"a {type(whole).__name__} of {len(whole)} things"
    return f"a whole object of the class {type(whole).__name__}"


def _loaded(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":  # torch would go by the name
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    archive = _start(path, 2) == b"PK"
    return torch.load(path, map_location="cpu", weights_only=True, mmap=archive or None)


def _is_plain(value: Any, path: Path) -> bool:
    """Whether it is a tensor. Raises CheckpointError for one that claims more numbers than the file holds."""
    if not isinstance(value, Tensor):
        return False
    if value.is_meta or value.layout != torch.strided or value.nbytes > value.untyped_storage().nbytes():
        raise CheckpointError(f"{path} holds a tensor without all of its numbers; do not use it")
    return True


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "there is no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "Can only" in str(error) or "Unsupported" in str(error):
        return (
            f"what lies beside its weights cannot be left out ({first_line(error)}): take it as safetensors"
        )
    return f"it is broken, cut off ({path.stat().st_size:,} bytes) or another kind of file: fetch it again"


def _start(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def numbers_in(weights: Weights, pattern: str) -> list[int]:
    """The numbers in the names that match `pattern`, ascending."""
    found = sorted(int(match[1]) for name in weights if (match := re.fullmatch(pattern, name)))
    if not found:
        raise KeyError(f"every weight called {pattern}")
    return found
