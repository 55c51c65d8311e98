"""The file that is made, what is said of it beside it, and what is kept of one that is not finished.

`NAME` gets a `NAME.json` that says what it was made of and the SHA-256 of its bytes: the same command finds
it done. What takes long is kept in hidden files beside it, from which the same command goes on.
"""

import glob
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.files import TEMPORARY_SUFFIX, fingerprint, write_bytes, write_json

from .errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KINDS", "LEARNT", "STEPS", "VECTORS", "Output", "Unfinished", "provenance_path", "suffixed"]

PARTS = ("steered", "learning")  # of the work, which are kept until the file is made
# The kinds of files: the vector itself, in the layouts of others, and what is learnt on a model.
VECTORS = ("safetensors", "diffusers", "comfyui", "webui")
LEARNT = ("lora", "token", "prompt")
KINDS = (*LEARNT, *VECTORS)
STEPS = 10  # towards the taste, as `visunex-generate` takes without being told

LIBRARIES = ("visunex", "torch", "transformers", "safetensors")


def provenance_path(path: Path) -> Path:
    """Where the provenance of the file at `path` lies: not where the embedding's own lies."""
    return path.with_name(f"{path.name}.json")


def suffixed(path: Path, kind: str, *allowed: str) -> Path:
    """The path with the first of the `allowed` endings where it has none.

    Raises ExportError for an ending that the programs do not look for.
    """
    if path.suffix.lower() in allowed:
        return path
    if not path.suffix:
        return path.with_name(path.name + allowed[0])
    raise ExportError(
        f"--out {path}: what --to {kind} makes is called *{' or *'.join(allowed)}, by which programs find it"
    )


@dataclass(frozen=True)
class Output:
    """One file to be made from a `request`: what was asked for, as JSON. Equal requests make equal files."""

    path: Path
    request: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the request, as lower-case hex."""
        return fingerprint(self.request)

    def made(self, *, overwrite: bool) -> dict[str, Any] | None:
        """The provenance of a file that this very request made earlier; None where it is to be made.

        Raises ExportError for another file in its place, unless it may be replaced by `overwrite`.
        """
        if not self.path.exists() or overwrite:
            return None
        said = self._provenance()
        if said is not None and said.get("request_sha256") == self.digest:
            return said
        raise ExportError(
            f"{self.path} is there already and was made otherwise, or has changed since; choose another "
            "--out, or replace it by --overwrite"
        )

    def write(self, data: bytes, report: Mapping[str, Any]) -> dict[str, Any]:
        """Write the file, then its provenance with the `report` in it, which is returned.

        Raises ExportError where that is impossible.
        """
        said = {
            **self.request,
            "report": dict(report),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
            "request_sha256": self.digest,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        try:
            write_bytes(self.path, data)
            write_json(provenance_path(self.path), said)
        except OSError as error:
            raise ExportError(f"{self.path} cannot be written: {error.strerror or error}") from None
        return said

    def forget(self) -> None:
        """Remove what was kept of the work: the file is made."""
        for part in PARTS:
            for kept in self.path.parent.glob(f".{glob.escape(self.path.name)}.{part}-*{TEMPORARY_SUFFIX}"):
                kept.unlink(missing_ok=True)

    def unfinished(self, what: str, part: str) -> "Unfinished":
        """A place for what is kept of the work on a text encoder until the file is made."""
        name = f".{self.path.name}.{what}-{part}{TEMPORARY_SUFFIX}"
        return Unfinished(self.path.with_name(name), self.digest)

    def _provenance(self) -> dict[str, Any] | None:
        try:
            said = json.loads(provenance_path(self.path).read_text(encoding="utf-8"))
            same = said["sha256"] == hashlib.sha256(self.path.read_bytes()).hexdigest()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return said if same and isinstance(said, dict) else None


@dataclass(frozen=True)
class Unfinished:
    """Tensors by name, kept in a hidden file for the request of this `digest`."""

    path: Path
    digest: str

    def load(self) -> "dict[str, Tensor]":
        """What is kept for this request; nothing where none is, or it is broken or another request's."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                if (file.metadata() or {}).get("request") != self.digest:
                    return {}
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
        except (OSError, SafetensorError):
            return {}

    def save(self, tensors: "Mapping[str, Tensor]") -> None:
        """Keep these in place of what was kept. Raises ExportError where that is impossible."""
        from safetensors.torch import save

        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            write_bytes(self.path, save(held, {"request": self.digest}))
        except OSError as error:
            raise ExportError(f"{self.path} cannot be written: {error.strerror or error}") from None
