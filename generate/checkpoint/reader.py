"""A checkpoint's file (.safetensors or .ckpt) -> its tensors by name, without running code in it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError

__all__ = ["SUFFIXES", "Weights", "numbers_in", "read_weights"]

SUFFIXES = frozenset({".safetensors", ".ckpt", ".pt"})

Weights = Mapping[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or, loaded by torch's weights-only reader, of a `.ckpt`, by
    name."""
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return _read_pickled(path)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {_reason(path, error)}") from None


class _Inert:
    """Stands in for a training framework's class in a checkpoint: takes anything, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _read_pickled(path: Path) -> dict[str, Tensor]:
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    archive = _start(path, 2) == b"PK"
    asked = get_unsafe_globals_in_checkpoint(path) if archive else []
    # The first public checkpoints carry their trainer's callbacks along.
    trainers = [name for name in asked if name.startswith("pytorch_lightning.")]
    if len(trainers) < len(asked):
        wanted = ", ".join(sorted(set(asked) - set(trainers)))
        raise CheckpointError(
            f"{path} asks for code to be run ({wanted}), so it is not loaded; do not use it"
        )
    with safe_globals([(_Inert, name) for name in trainers]):
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=archive or None)
    while isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, not the weights of a model")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "there is no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if path.stat().st_size == 0:
        return "the file is empty"
    if _start(path, 23) == b"version https://git-lfs":
        return "it is a git-lfs pointer; run `git lfs pull` where it came from"
    if "weights_only" in str(error) or "Unsupported" in str(error):
        return "it asks for code to be run, or is no checkpoint"
    return "it is broken, cut off or another kind of file"


def _start(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def numbers_in(weights: Weights, pattern: str) -> list[int]:
    """The numbers in the names that match `pattern`, ascending."""
    found = sorted(int(match[1]) for name in weights if (match := re.fullmatch(pattern, name)))
    if not found:
        raise KeyError(f"every weight called {pattern}")
    return found
