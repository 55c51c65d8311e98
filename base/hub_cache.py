"""Weights from the Hub: whether they lie in its cache, and whole, seen without loading them."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEFAULT_MODEL", "DEFAULT_MODEL_FILES", "Cached", "look"]

DEFAULT_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"  # of `visunex-generate`
# What is loaded of it, in bytes as published.
DEFAULT_MODEL_FILES = {
    "unet/diffusion_pytorch_model.safetensors": 3_438_167_540,
    "vae/diffusion_pytorch_model.safetensors": 334_643_276,
    "text_encoder/model.safetensors": 492_265_880,
    "unet/config.json": 743,
    "vae/config.json": 547,
    "text_encoder/config.json": 617,
    "tokenizer/vocab.json": 1_059_962,
    "tokenizer/merges.txt": 524_619,
    "tokenizer/tokenizer_config.json": 806,
    "scheduler/scheduler_config.json": 308,
}
# What the same weights are called where they were saved by torch, and then loaded in their place.
_TWINS = {"diffusion_pytorch_model.safetensors": "diffusion_pytorch_model.bin"} | {
    "model.safetensors": "pytorch_model.bin",
    "open_clip_model.safetensors": "open_clip_pytorch_model.bin",
}
_LARGEST_HEADER = 100 << 20  # bytes of JSON, the limit of safetensors itself
_LARGEST_TEXT = 64 << 20


@dataclass(frozen=True)
class Cached:
    """What of a model is in the Hub's cache: bytes there, what is to be fetched, damaged files and why."""

    size: int
    missing: Mapping[str, int]
    damaged: Mapping[Path, str]

    @property
    def to_fetch(self) -> int:
        """Bytes that are not there yet."""
        return sum(self.missing.values())


def look(repository: str, files: Mapping[str, int]) -> Cached:
    """What is in the cache of a model's `files`, by name with their bytes."""
    found = {name: path for name in files if (path := _in_cache(repository, name)) is not None}
    faults = {path: fault for path in found.values() if (fault := _fault(path))}
    missing = {name: size for name, size in files.items() if name not in found}
    return Cached(sum(path.stat().st_size for path in found.values()), missing, faults)


def _in_cache(repository: str, name: str) -> Path | None:
    """The file in the cache, or its twin."""
    from huggingface_hub import try_to_load_from_cache

    folder, slash, last = name.rpartition("/")
    names = [last, *([_TWINS[last]] if last in _TWINS else [])]
    try:
        found = [try_to_load_from_cache(repository, f"{folder}{slash}{each}") for each in names]
    except (OSError, ValueError):  # a cache that cannot be read
        return None
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _fault(path: Path) -> str:
    """Why a file is not whole; nothing where it is, as far as its length and its text can tell."""
    try:
        if path.suffix == ".safetensors":
            return _cut_safetensors(path)
        if path.suffix == ".bin":
            return "" if _is_pickle(path) or zipfile.is_zipfile(path) else "its end is missing"
        if path.stat().st_size > _LARGEST_TEXT:
            return "it is far too large"
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            json.loads(text)
        return "" if text.strip() else "it is empty"
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, RecursionError):
        return "it is not what it should be, as of a broken download"


def _is_pickle(path: Path) -> bool:
    """Whether it is of torch before 1.6, which does not say how long a file is."""
    with path.open("rb") as file:
        return file.read(2) == b"\x80\x02"


def _cut_safetensors(path: Path) -> str:
    """Why a safetensors file is not as long as its header says. Raises ValueError for one without."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise ValueError
        header = json.loads(file.read(length))
    try:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (AttributeError, KeyError, IndexError, TypeError):
        raise ValueError from None
    return "" if size == whole else f"it has {size:,} bytes of {whole:,}"
