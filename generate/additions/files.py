"""Files that are added to a model: whether one may be read, its hashes, its header. No torch is loaded."""

import hashlib
import stat
from pathlib import Path

from visunex.base.files import sha256_file

from ..checkpoint.formats import format_of
from ..checkpoint.headers import header_of, is_safetensors
from ..checkpoint.kinds import Shapes
from ..errors import AdditionError

__all__ = [
    "DIGITS",
    "DIGITS_OF_VAE",
    "INVERSION",
    "IP_ADAPTER",
    "LORA",
    "VAE",
    "check_file",
    "digest",
    "file_of_vae",
    "payload_digest",
    "shapes_in",
]

LORA, INVERSION, VAE, IP_ADAPTER = "LoRA", "textual inversion", "VAE", "plain IP-Adapter"
# Bytes of the largest: a LoRA of rank 256 of all of SDXL has 4 GB in fp32, 75 vectors of it 600 kB; a VAE may
# be given as the whole checkpoint that it is in; SDXL's plain IP-Adapter has 1.4 GB in fp32.
LARGEST = {LORA: 16 << 30, INVERSION: 64 << 20, VAE: 16 << 30, IP_ADAPTER: 8 << 30}
VAE_FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
)
DIGITS, DIGITS_OF_VAE = 12, 10  # of the hashes by which the web UI calls files


def check_file(path: Path, what: str) -> None:
    """Raise AdditionError for what cannot be `what`: not a file, not of weights, or of more bytes."""
    try:
        status = path.stat()
    except OSError as error:
        raise AdditionError(
            f"{what} {path} cannot be read: {error.strerror or 'there is no such file'}"
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise AdditionError(f"{what} {path} cannot be read: it is a folder, name the file in it")
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise AdditionError(f"{what} {path} cannot be read: it is no file")
    if status.st_size > (largest := LARGEST[what]):
        raise AdditionError(
            f"{path} has {status.st_size:,} bytes, more than any {what} ({largest:,}): name another file"
        )
    if other := format_of(path):
        raise AdditionError(f"{path} is {other.what}, not a {what}: name the file itself")


def shapes_in(path: Path) -> Shapes | None:
    """The shapes of a safetensors file's tensors by their names, without torch; None for another file."""
    if not is_safetensors(path):
        return None
    return {name: entry.shape for name, entry in header_of(path).items()}


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    return sha256_file(path)


def payload_digest(path: Path) -> str:
    """The hash by which the web UI calls a LoRA's file: of a safetensors file without its header."""
    if not is_safetensors(path):
        return digest(path)
    whole = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while piece := file.read(1 << 20):
            whole.update(piece)
    return whole.hexdigest()


def file_of_vae(path: Path) -> Path:
    """The file with a VAE's weights; that of a folder, or of a whole model's folder. Raises AdditionError."""
    if not path.is_dir():
        return path
    for folder in (path, path / "vae"):
        for name in VAE_FILES:
            if (folder / name).is_file():
                return folder / name
    raise AdditionError(f"{path} is no folder of a VAE: it has no {VAE_FILES[0]}, neither itself nor in vae/")
