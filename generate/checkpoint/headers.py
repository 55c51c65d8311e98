"""What files of weights say of themselves, without their numbers: names, shapes and types of tensors.

Nothing here loads torch.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from visunex.base.torch_files import TorchFileError, called_by

from ..errors import CheckpointError

__all__ = ["Entry", "check_weights", "header_of", "is_safetensors", "only_variant", "weights_in"]

# NAME.fp16.safetensors, and as shards NAME.fp16-00001-of-00002.safetensors
_VARIANT = re.compile(
    r"[^.]+\.([A-Za-z][A-Za-z0-9_]*)(?:-\d+-of-\d+)?\.(?:safetensors|bin)(?:\.index\.json)?"
)

LARGEST = 16 << 20  # bytes of a header; that of a model with 2,000 tensors has 300 kB
_FLOATS = ("F", "BF")  # how types of floats begin; one of complex numbers is C64
_POSITIONS = "position_ids"  # the whole numbers that old text encoders have beside their weights


@dataclass(frozen=True)
class Entry:
    """Shape and type of a tensor, as safetensors calls it: `F16`."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self) -> bool:
        """Whether it holds plain floating-point numbers."""
        return self.dtype.startswith(_FLOATS)


def is_safetensors(path: Path) -> bool:
    """Whether a file is one, whatever it is called. Raises OSError."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def header_of(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file by name. Raises CheckpointError for what is none, OSError."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if not 2 <= length <= LARGEST:
                raise ValueError
            found = json.loads(file.read(length))
            return {name: _entry(each) for name, each in found.items() if name != "__metadata__"}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise CheckpointError(
                f"{path} cannot be read as a checkpoint: it is broken, cut off or another kind of file: "
                "fetch it again"
            ) from None


def _entry(found: Mapping[str, object]) -> Entry:
    shape, dtype = found["shape"], found["dtype"]
    if not isinstance(shape, list) or not isinstance(dtype, str):
        raise TypeError
    return Entry(tuple(map(int, shape)), dtype)


def weights_in(folder: Path) -> int:
    """How many numbers a part's folder holds in safetensors files, of the variant that has most; 0 where not
    told."""
    counts: dict[str | None, int] = {}
    for path in folder.glob("*.safetensors"):
        try:
            count = sum(math.prod(entry.shape) for entry in header_of(path).values())
        except (CheckpointError, OSError):  # whoever reads the file says what is wrong with it
            continue
        variant = _variant_of(path.name)
        counts[variant] = counts.get(variant, 0) + count
    return max(counts.values(), default=0)


def only_variant(folder: Path) -> str | None:
    """The variant (`fp16`) of a part's weights where its folder holds no plain ones; the first of several."""
    names = [path.name for ending in ("safetensors", "bin") for path in folder.glob(f"*.{ending}")]
    variants = {_variant_of(name) for name in names}
    return None if None in variants else min(filter(None, variants), default=None)


def _variant_of(name: str) -> str | None:
    match = _VARIANT.fullmatch(name)
    return match[1] if match else None


def check_weights(folder: Path, variant: str | None = None) -> None:
    """Raise CheckpointError where weights in a part's folder are no plain numbers, or lack some.

    Those of the `variant` are meant. An index of several files says which weight is in which; the libraries
    believe it.
    """
    files = [path for path in sorted(folder.glob("*")) if _variant_of(path.name) == variant]
    headers = {path.name: header_of(path) for path in files if path.suffix == ".safetensors"}
    for path in files:
        if path.suffix == ".bin" and not headers:
            _check_pickle(path)
        elif path.name.endswith(".safetensors.index.json"):
            _check_whole(path, headers)
    for name, header in headers.items():
        for tensor, entry in header.items():
            if not entry.is_float and not tensor.endswith(_POSITIONS):
                raise CheckpointError(
                    f"{folder / name} holds {tensor} as {entry.dtype}, not as floating-point numbers: "
                    "take the model as it was before it was quantised"
                )


def _check_pickle(path: Path) -> None:
    try:
        with path.open("rb") as file:
            called_by(file)
    except TorchFileError as error:
        raise CheckpointError(f"{path} cannot be read as weights: it {error}") from None


def _check_whole(index: Path, headers: Mapping[str, Mapping[str, Entry]]) -> None:
    """Raise CheckpointError for a weight that an index names, and that is not where it says."""
    found = json.loads(index.read_bytes()).get("weight_map")
    for tensor, name in found.items() if isinstance(found, dict) else ():
        if tensor not in headers.get(name, {}):
            raise CheckpointError(
                f"{index} says that {tensor} is in {name}, where it is not: fetch them again"
            )
