"""What an image says of the files that were added to its model: as JSON, and as the web UI says it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..added import AddedFile

__all__ = ["additions_as_json", "additions_from_json", "hash_fields", "vae_fields", "with_tags"]

SEVERAL = {"lora": "loras", "textual_inversion": "textual_inversions"}
ALONE = ("vae", "ip_adapter")  # kinds, and keys, of which there is one


def additions_as_json(files: Sequence[AddedFile]) -> dict[str, Any]:
    """Names, hashes and strengths under a key for each kind; nothing where nothing was added."""
    found: dict[str, Any] = {}
    for kind, key in SEVERAL.items():
        if own := [_entry(file) for file in files if file.kind == kind]:
            found[key] = own
    found |= {file.kind: _entry(file) for file in files if file.kind in ALONE}
    return found


def _entry(file: AddedFile) -> dict[str, Any]:
    values = {"scale": file.scale, "word": file.word}
    said = {key: value for key, value in values.items() if value is not None}
    return {"name": _name(file), **said, "sha256": file.sha256, "hash": file.short_hash, "path": file.path}


def additions_from_json(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same back as `AddedFile` takes it, not yet checked. Raises ValueError or KeyError for others."""
    entries = [(kind, found[kind]) for kind in ALONE if found.get(kind) is not None]
    for kind, key in SEVERAL.items():
        several = found.get(key, [])
        if not isinstance(several, list):
            raise ValueError("no list")
        entries = [*entries, *((kind, each) for each in several)]
    return [_fields(kind, entry) for kind, entry in entries]


def _fields(kind: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError("no object")
    return {
        "kind": kind,
        "path": entry["path"],
        "sha256": entry["sha256"],
        "short_hash": entry["hash"],
        "scale": entry.get("scale"),
        "word": entry.get("word"),
    }


def with_tags(prompt: str, files: Sequence[AddedFile]) -> str:
    """A prompt as the web UI's users write it, where LoRAs stand in it."""
    tags = [f"<lora:{_plain(_name(file))}:{file.scale:g}>" for file in files if file.kind == "lora"]
    return " ".join([prompt, *tags])


def vae_fields(files: Sequence[AddedFile]) -> dict[str, str]:
    """What the web UI says of a VAE, behind the model."""
    vae = next((file for file in files if file.kind == "vae"), None)
    return {"VAE hash": vae.short_hash, "VAE": Path(vae.path).name} if vae else {}


def hash_fields(files: Sequence[AddedFile], *prompts: str) -> dict[str, str]:
    """What the web UI says of LoRAs, and of the textual inversions that stand in a prompt."""
    texts = "\n".join(prompts).lower()
    used = [file for file in files if file.kind == "textual_inversion" and (file.word or "").lower() in texts]
    loras = [file for file in files if file.kind == "lora"]
    return dict(_listed({"TI hashes": used, "Lora hashes": loras}))


def _listed(kinds: Mapping[str, Sequence[AddedFile]]) -> Iterator[tuple[str, str]]:
    for field, files in kinds.items():
        if files:
            yield field, ", ".join(f"{_plain(_name(file))}: {file.short_hash}" for file in files)


def _name(file: AddedFile) -> str:
    path = Path(file.path)
    return path.name if file.kind in ALONE else path.stem


def _plain(name: str) -> str:
    """A name without what separates names in the web UI's text, as it leaves it out."""
    return name.translate({ord(letter): None for letter in ":,<>"})
