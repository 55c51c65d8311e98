"""The file: a bare float32 tensor 1xD in `NAME.pt`, and beside it `NAME.json`, which says how it was made."""

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visunex.base.errors import numbers, require
from visunex.base.files import write_bytes, write_json
from visunex.base.torch_files import WEIGHTS, TorchFileError, called_by

from .errors import EmbeddingError
from .tensorfile import read_plain, tensor_bytes

if TYPE_CHECKING:
    import torch

# The largest published tower has a few thousand dimensions; a file beyond this is not an embedding.
MAX_DIMENSION = 65_536
MAX_BYTES = 8 * 1024**2
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, eq=False)
class Embedding:
    """One aesthetic embedding: `vector` float32 [1, D], read-only; `dtype` and `shape` as in the file."""

    name: str
    vector: NDArray[np.float32]
    dtype: str = "float32"
    shape: tuple[int, ...] = ()
    path: Path | None = None

    def __repr__(self) -> str:
        return f"<Embedding {self.name!r}: 1x{self.dimension}, norm {self.norm:.4g}>"

    @property
    def dimension(self) -> int:
        """D: 768 for CLIP ViT-L/14."""
        return self.vector.shape[1]

    @property
    def norm(self) -> float:
        """L2 norm of the vector."""
        return float(np.linalg.norm(self.vector.astype(np.float64)))

    @property
    def unit(self) -> NDArray[np.float64]:
        """The vector scaled to norm 1, float64 [1, D]: its direction is all that generation uses."""
        return self.vector.astype(np.float64) / self.norm

    @property
    def provenance(self) -> dict[str, Any] | None:
        """How it was made, from the `.json` beside the file; None without one that belongs to it."""
        return None if self.path is None else _read_provenance(self.path)

    def as_dict(self) -> dict[str, Any]:
        """What it is and where it lies, as JSON."""
        return {
            "name": self.name,
            "file": str(self.path),
            "shape": "x".join(map(str, self.shape)),
            "dtype": self.dtype,
            "norm": self.norm,
        }

    def tensor(self) -> "torch.Tensor":
        """A torch tensor of its own, float32 [1, D], on the CPU."""
        import torch

        return torch.from_numpy(self.vector.copy())


def load(path: str | Path) -> Embedding:
    """Read an embedding that anyone may have made: 1-D or 1xD, fp16 to fp64, saved from any device.

    Nothing in the file is executed and nothing of unreasonable size is read. Raises EmbeddingError, whose
    sentence says why the file is no embedding: code in the pickle, a wrong shape or type, NaN, zeros, a web
    page, a truncated download.
    """
    require(path, "path", (str, Path), "the path of an embedding's file", EmbeddingError)
    path = Path(path)
    data = _read_bounded(path)
    plain = read_plain(data)
    values, dtype, shape = _by_torch(path, data) if plain is None else (plain, plain.dtype.name, plain.shape)
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != 1) or not 2 <= shape[-1] <= MAX_DIMENSION:
        raise EmbeddingError(
            f"{path} holds a tensor of shape {_times(shape)}; an embedding is one vector, 1xD (1x768 for "
            "ViT-L/14)"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
        vector = values.reshape(1, -1).astype(np.float32)
    return Embedding(path.stem, checked(vector, str(path)), dtype, shape, path)


def save(path: str | Path, vector: ArrayLike, provenance: Mapping[str, Any]) -> Embedding:
    """Write `vector` ([D] or [1, D]) as a bare float32 tensor 1xD, and `provenance` as JSON beside it.

    Plain `torch.load` and the Stable Diffusion web UI extension read the file; the same vector gives the same
    bytes. Each file is whole or absent, and the JSON names the SHA-256 of its tensor file, so that one left
    over from an older tensor is not taken for this one's. Raises EmbeddingError for NaN, infinity or zeros.
    """
    require(path, "path", (str, Path), "the path of the file to write, NAME.pt", EmbeddingError)
    require(provenance, "provenance", Mapping, "a dictionary that says how it was made", EmbeddingError)
    path = Path(path)
    values = checked(_one_vector(vector), str(path))
    data = tensor_bytes(values)
    try:
        write_bytes(path, data)
        digest = hashlib.sha256(data).hexdigest()
        write_json(provenance_path(path), {**provenance, "sha256": digest})
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be written: {error.strerror or error}") from None
    return Embedding(path.stem, values, "float32", values.shape, path)


def _one_vector(given: ArrayLike) -> NDArray[np.float32]:
    """One vector as float32 [1, D]. Raises EmbeddingError for what is no vector of numbers."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
        vector = numbers(given, "vector", "the numbers of one vector, D or 1xD", EmbeddingError).astype("f4")
    if vector.ndim not in (1, 2) or vector.size != vector.shape[-1] or vector.size < 2:
        raise EmbeddingError(f"vector has the shape {_times(vector.shape)}: give one vector, D or 1xD")
    return vector.reshape(1, -1)


def require_replaceable(path: Path, *, overwrite: bool = False) -> None:
    """Raise EmbeddingError where `save` would replace a file that is not an embedding of ours.

    Ours are a tensor whose `.json` names its SHA-256, and a `.json` left alone that names one.
    """
    if path.suffix.lower() != ".pt" or path.is_dir():
        raise EmbeddingError(f"an embedding's file is called NAME.pt; {path} is not, or is a folder")
    beside = provenance_path(path)
    if path.exists():
        foreign = None if _read_provenance(path) is not None else path
    else:
        foreign = beside if beside.exists() and not _is_provenance(beside) else None
    if foreign is not None and not overwrite:
        what = f"{foreign} is there already and was not written by VisuNex, or has changed since"
        if foreign == path and beside.exists():
            what = f"{path} and {beside} are there already and do not belong together"
        raise EmbeddingError(
            f"{what}; choose another name for --out, or replace what is there by --overwrite"
        )


def provenance_path(path: Path) -> Path:
    """Where the provenance of the embedding at `path` lies."""
    return path.with_suffix(".json")


def checked(vector: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """The vector, read-only, when it has a direction; raises EmbeddingError naming `what` otherwise."""
    if not np.isfinite(vector).all():
        raise EmbeddingError(
            f"{what} contains NaN or infinity, so it has no direction; make or fetch it again"
        )
    if not np.any(vector):
        raise EmbeddingError(f"{what} is all zeros, so it has no direction; make or fetch it again")
    vector.setflags(write=False)
    return vector


def _by_torch(path: Path, data: bytes) -> tuple[NDArray[Any], str, tuple[int, ...]]:
    """Values, type and shape of a file that only torch can read: bfloat16, views, parameters, old formats."""
    tensor = _unpickled(path, data)
    dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    # A view may claim to be huge; its size is judged, by its shape, before it is laid out in memory.
    small = tensor.numel() <= MAX_DIMENSION
    return tensor.detach().float().numpy() if small else np.empty(0), dtype, shape


def _unpickled(path: Path, data: bytes) -> "torch.Tensor":
    import torch

    try:
        code = called_by(io.BytesIO(data)) - WEIGHTS
    except TorchFileError as error:
        raise EmbeddingError(f"{path} {_what_else(data) or error}") from None
    if code:
        raise EmbeddingError(
            f"{path} is a pickle that asks for code to be run ({min(code)}), not a plain tensor; "
            "do not use it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on odd pickles; ours is the sentence below
            tensor = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception:
        raise EmbeddingError(f"{path} is broken or cut off; fetch it again") from None
    if not isinstance(tensor, torch.Tensor):
        raise EmbeddingError(
            f"{path} holds a {type(tensor).__name__}, not a tensor; it is a checkpoint or another kind of "
            "file"
        )
    if tensor.layout != torch.strided or str(tensor.dtype).removeprefix("torch.") not in _FLOATS:
        raise EmbeddingError(
            f"{path} holds a {tensor.dtype} {str(tensor.layout).removeprefix('torch.')} tensor; "
            "an embedding is a plain one of floats"
        )
    return tensor


def _read_bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise EmbeddingError(
            f"{path} is larger than {MAX_BYTES // 1024**2} MB; an embedding is a few kB, this is another "
            "kind of file"
        )
    return data


def _what_else(data: bytes) -> str | None:
    """What a file is that people take for an embedding, as the end of a sentence."""
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "is a web page saved under the name of an embedding; take the address of the raw file"
    if start.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the file itself; run `git lfs pull` where it came from"
    return None if data else "is an empty file; fetch it again"


def _read_provenance(path: Path) -> dict[str, Any] | None:
    try:
        noted = json.loads(provenance_path(path).read_text(encoding="utf-8"))
        same = noted["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return noted if same and isinstance(noted, dict) else None


def _is_provenance(path: Path) -> bool:
    """Whether a `.json` is one that `save` wrote: it names a SHA-256."""
    try:
        digest = json.loads(path.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(digest, str) and len(digest) == 64


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "() (a single number)"
