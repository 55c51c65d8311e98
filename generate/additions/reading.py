"""Files that may be a stranger's -> the tensors in them and what is said beside; nothing in them is run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoint.headers import header_of, is_safetensors
from ..checkpoint.reader import load_plain, reading, tensors_in

__all__ = ["metadata_of", "tensors_of", "whole_of"]

LARGEST_METADATA = 8 << 20  # bytes of a text that is read as JSON; what peft says of a LoRA has some 10 kB


def whole_of(path: Path, what: str) -> Any:
    """What a file holds: of a safetensors file its tensors by name, of torch's whatever was saved, nested.

    Raises CheckpointError for what is broken, or asks for code to be run.
    """
    with reading(path, f"a {what}"):
        if is_safetensors(path):
            header_of(path)  # its bound is a hundredth of the library's own, and more than any file needs
        return load_plain(path)


def tensors_of(path: Path, what: str) -> dict[str, Tensor]:
    """The tensors in a file by name. Raises CheckpointError as `whole_of`."""
    return tensors_in(whole_of(path, what), path)


def metadata_of(path: Path, key: str) -> Mapping[str, Any]:
    """The JSON object under `key` of a safetensors file's metadata; empty where there is none."""
    from safetensors import safe_open

    if not is_safetensors(path):
        return {}
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(key, "")
    try:
        found = json.loads(text) if len(text) <= LARGEST_METADATA else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
