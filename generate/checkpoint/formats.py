"""Files that hold no weights, or not in a form that is read here: told by how they begin."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Format", "format_of"]

AGAIN = "fetch the file itself again"
CONVERT = "take the same model as .safetensors or .ckpt"
UNPACK = "unpack it and give what is inside to --model"
MADE_AGAIN = "to make it again give it to --from-image"
_SEEN = 512  # bytes


@dataclass(frozen=True)
class Format:
    """What a file is, and what to do with it; `begins` are bytes at `at` that tell it."""

    what: str
    advice: str
    begins: tuple[bytes, ...] = ()
    at: int = 0


EMPTY = Format("empty", AGAIN)
ZIP = Format("a zip archive", UNPACK)
ONNX = Format("an ONNX model", CONVERT)
TEXT = Format("a text file", "give --model the weights; prompts go to --from-file, recipes to --recipe")
FORMATS = (
    Format(
        "a git-lfs pointer, not the file itself",
        "run `git lfs pull` where it came from",
        (b"version https://git-lfs",),
    ),
    Format("a web page", f"{AGAIN}: the page's download link, not the page's address", (b"<",)),
    Format("JSON", f"{AGAIN}, or give the model's folder", (b"{", b"[")),
    Format("a GGUF file, whose weights are quantised", CONVERT, (b"GGUF", b"ggjt", b"ggml")),
    Format("a picture", MADE_AGAIN, (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")),
    Format("a picture", MADE_AGAIN, (b"WEBP",), 8),
    Format(
        "a packed archive",
        UNPACK,
        (b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
    ),
    Format("a tar archive", UNPACK, (b"ustar",), 257),
    Format("an HDF5 file (Keras)", CONVERT, (b"\x89HDF",)),
    Format("a NumPy file", "visunex-data makes an embedding of vectors", (b"\x93NUMPY",)),
    Format("a parquet file", "metadata and vectors are for visunex-data", (b"PAR1",)),
    Format("a PDF", AGAIN, (b"%PDF",)),
)


def format_of(path: Path) -> Format | None:
    """What else than weights a file holds, as far as its beginning tells. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(_SEEN)
    if not start.strip(b"\0"):
        return EMPTY
    if start[5:9] == b"\0\0\0{":  # a safetensors file: the length of its header may look like text
        return None
    bare = start.removeprefix(b"\xef\xbb\xbf").lstrip() or start
    for each in FORMATS:
        if (bare if each.at == 0 else start[each.at :]).startswith(each.begins):
            return each
    if start.startswith(b"PK") and not _is_torchs(path):
        return ZIP
    if path.suffix.lower() == ".onnx" or (start[:1] == b"\x08" and b"pytorch" in start[:64]):
        return ONNX
    return TEXT if _is_text(start) else None


def _is_torchs(path: Path) -> bool:
    """Whether a zip archive is one of torch.save, or so broken that it may be one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(("/data.pkl", "/constants.pkl")) for name in archive.namelist())
    except Exception:  # zipfile raises almost anything for a broken one
        return True


def _is_text(start: bytes) -> bool:
    try:
        text = start[: start.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)
