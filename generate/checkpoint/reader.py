"""A checkpoint's file (.safetensors or .ckpt) -> its tensors by name, without running code in it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visunex.base.torch_files import WEIGHTS, TorchFileError, called_by, is_harmless

from ..errors import CheckpointError

__all__ = ["SUFFIXES", "Weights", "numbers_in", "read_weights"]

MOST_NESTED = 8  # dictionaries of the name `state_dict` in one another
SUFFIXES = frozenset({".safetensors", ".ckpt", ".pt"})

Weights = Mapping[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or, loaded by torch's weights-only reader, of a `.ckpt`, by
    name."""
    try:
        if _start(path, 9)[8:] == b"{":  # whatever the file is called
            from safetensors.torch import load_file

            return load_file(path)
        return _read_pickled(path)
    except CheckpointError:
        raise
    except TorchFileError as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: {_other_kind(path) or f'it {error}'}"
        ) from None
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {_reason(path, error)}") from None


class _Inert:
    """Stands in for a training framework's class in a checkpoint: takes anything, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _read_pickled(path: Path) -> dict[str, Tensor]:
    from torch.serialization import safe_globals

    with path.open("rb") as file:
        asked = called_by(file) - WEIGHTS
    if code := sorted(name for name in asked if not is_harmless(name)):
        raise CheckpointError(
            f"{path} asks for code to be run ({', '.join(code)}), so it is not loaded; do not use it"
        )
    with safe_globals([(_Inert, name) for name in asked]):
        found = _loaded(path)
    for _ in range(MOST_NESTED):
        if not (isinstance(found, dict) and isinstance(found.get("state_dict"), dict)):
            break
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, not the weights of a model")
    return {name: value for name, value in found.items() if isinstance(name, str) and _is_plain(value, path)}


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
    return _other_kind(path) or "it is broken, cut off or another kind of file"


def _other_kind(path: Path) -> str | None:
    if path.stat().st_size == 0:
        return "the file is empty"
    if _start(path, 23) == b"version https://git-lfs":
        return "it is a git-lfs pointer; run `git lfs pull` where it came from"
    return None


def _start(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def numbers_in(weights: Weights, pattern: str) -> list[int]:
    """The numbers in the names that match `pattern`, ascending."""
    found = sorted(int(match[1]) for name in weights if (match := re.fullmatch(pattern, name)))
    if not found:
        raise KeyError(f"every weight called {pattern}")
    return found
