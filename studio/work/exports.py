"""A taste as a file for other programs, as `visunex-export` makes it."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.base.errors import UsageError
from visunex.base.folders import RUNS
from visunex.export.errors import ExportError
from visunex.export.make import Wanted, make
from visunex.export.output import LEARNT

from .places import Places
from .shelf import Shelved, bring

__all__ = ["KINDS", "Exported", "export", "file_of"]

# What each kind is called on the page, and the ending of its file.
KINDS = {
    "lora": ("LoRA", ".safetensors"),
    "token": ("Token", ".safetensors"),
    "prompt": ("Words", ".txt"),
    "webui": ("Vector for the web UI", ".pt"),
    "comfyui": ("Vector for ComfyUI", ".ipadpt"),
    "diffusers": ("Vector for diffusers", ".ipadpt"),
    "safetensors": ("Plain vector", ".safetensors"),
}


@dataclass(frozen=True)
class Exported:
    """A file that was made, how near it comes in sentences, and the command that makes the same."""

    path: Path
    said: tuple[str, ...]
    command: str


def export(places: Places, name: str, kind: str, model: str) -> Exported:
    """The taste that commands find by `name` as a file of this kind; learnt on `model`, where it is learnt.

    What was made before of the same taste is found done, what was made of another is replaced. Raises
    UsageError, EmbeddingError, ExportError and what loading a model raises.
    """
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is no kind of file: {', '.join(KINDS)} are")
    taste = bring(places, name)
    given = _given(places, taste, kind, model)
    wanted = Wanted(embedding=taste.find, kind=kind, **given)
    try:
        said = make(wanted)
    except ExportError:
        if not wanted.out.exists():
            raise
        said = make(Wanted(embedding=taste.find, kind=kind, overwrite=True, **given))
    return Exported(Path(said["file"]), tuple(said["report"]["said"]), _command(taste, kind, given))


def file_of(places: Places, name: str) -> Path:
    """The file of that name among those that were made. Raises UsageError for any other."""
    path = places.exports / name
    if Path(name).name != name or name.startswith(".") or not path.is_file():
        raise UsageError(f"there is no file {name} any more")
    return path


def _given(places: Places, taste: Shelved, kind: str, model: str) -> dict[str, Any]:
    """What the command is told beside the taste and the kind."""
    stem = re.sub(r"[^\w.-]", "_", taste.title)[:60]
    given: dict[str, Any] = {"out": places.exports / f"{stem}-{kind}{KINDS[kind][1]}"}
    if kind in LEARNT:
        given["model"] = model
    if kind == "prompt" and (RUNS / taste.find / "selected.parquet").exists():
        given["captions"] = (str(RUNS / taste.find),)
    return given


def _command(taste: Shelved, kind: str, given: dict[str, Any]) -> str:
    options = [("--model", given.get("model")), *(("--captions", each) for each in given.get("captions", ()))]
    words = [text for option, value in options if value for text in (option, value)]
    return shlex.join(["visunex-export", taste.find, "--to", kind, *words, "--out", str(given["out"])])
