"""A look over the machine: what works, what is missing, and what to do about it."""

import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from visunex.base.hub_cache import DEFAULT_MODEL, DEFAULT_MODEL_FILES, look
from visunex.base.machine import cores
from visunex.base.proxies import is_offline

Verdict = Literal["ok", "note", "fault"]

_PACKAGES = ("torch", "open_clip_torch", "img2dataset", "webdataset", "polars", "transformers", "diffusers")
_MARKS: dict[Verdict, str] = {"ok": "ok", "note": "note", "fault": "FAULT"}
_HUB = "https://huggingface.co"
_CLIP_FILES = {"open_clip_model.safetensors": 1_710_517_724}  # of ViT-L-14
_ENOUGH_DISK = 5 * 1024**3  # 2000 pictures of about 1 MB, twice over


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `advice` says what to do when it is not as it should be."""

    what: str
    verdict: Verdict
    detail: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding for a JSON report."""
        return {"what": self.what, "verdict": self.verdict, "detail": self.detail, "advice": self.advice}


def examine(folder: Path, *, online: bool) -> Iterator[Finding]:
    """Every finding in turn; `folder` is where runs would lie. Only `online` opens a connection."""
    yield _python()
    yield from map(_package, _PACKAGES)
    yield _extra("datasets", "sources that are data sets on the Hub")
    yield _device()
    yield _disk(folder)
    yield _clip_weights()
    yield _diffusion_weights()
    yield _img2dataset()
    if online:
        yield _hub()


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "fault", "not installed", f"pip install {name}")


def _extra(name: str, purpose: str) -> Finding:
    if importlib.util.find_spec(name):
        return Finding(name, "ok", importlib.metadata.version(name))
    return Finding(name, "note", f"not installed; needed for {purpose}", f"pip install 'visunex[{name}]'")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", "ok", f"cuda: {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps (Apple GPU)")
    return Finding(
        "device",
        "note",
        f"cpu, {cores()} cores",
        "works, but 2000 pictures take minutes to hours with ViT-L-14; a GPU takes seconds to minutes",
    )


def _disk(folder: Path) -> Finding:
    existing = _existing(folder)
    free = shutil.disk_usage(existing).free
    detail = f"{free / 1024**3:.0f} GiB free for {folder}"
    if not os.access(existing, os.W_OK):
        return Finding(
            "disk", "fault", f"{existing} cannot be written to", "choose another folder with --run"
        )
    if free < _ENOUGH_DISK:
        return Finding("disk", "note", detail, "2000 pictures at their original size take about 2 GiB")
    return Finding("disk", "ok", detail)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())


def _clip_weights() -> Finding:
    from visunex.clip.pretrained import cached

    repository = cached("ViT-L-14", "openai")[0]
    way = "use --model local-dir:FOLDER"
    return _weights("CLIP ViT-L-14", "`encode`", repository, _CLIP_FILES, way)


def _diffusion_weights() -> Finding:
    command, way = "`visunex-generate`", "give the folder with --model"
    return _weights("Stable Diffusion", command, DEFAULT_MODEL, DEFAULT_MODEL_FILES, way)


def _weights(what: str, command: str, repository: str, files: Mapping[str, int], way: str) -> Finding:
    """Whether a model's files are in the Hub's cache, and whole; else what `command` fetches, from where.

    `way` is what to do with the repository's folder, brought from elsewhere.
    """
    there = look(repository, files)
    if there.damaged:
        path, why = next(iter(there.damaged.items()))
        advice = f"remove it, and {command} fetches it again: rm {shlex.quote(str(path.resolve()))}"
        return Finding(what, "fault", f"weights damaged: {path}: {why}", advice)
    if not there.missing:
        return Finding(what, "ok", f"weights cached and whole, {_gigabytes(there.size)} ({repository})")
    lead = (
        f"weights cached in part, without {', '.join(there.missing)}" if there.size else "weights not cached"
    )
    hub = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
    fetched = f"the first {command} fetches {_gigabytes(there.to_fetch)} from {hub}/{repository}"
    if is_offline():
        fetched = f"{hub}/{repository} is not asked, as HF_HUB_OFFLINE is set"
    bring = f"without network: hf download {repository} --local-dir FOLDER elsewhere, bring it and {way}"
    return Finding(what, "note", f"{lead}; {fetched}", _no_room(there.to_fetch) or bring)


def _no_room(size: int) -> str:
    """What to do where the disk of the Hub's cache is too full for `size` bytes; nothing where it is not."""
    from huggingface_hub.constants import HF_HUB_CACHE

    free = shutil.disk_usage(_existing(Path(HF_HUB_CACHE))).free
    if free > size:
        return ""
    return (
        f"make room for it: {_gigabytes(free)} are free for {HF_HUB_CACHE}; or set HF_HOME to a larger disk"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _img2dataset() -> Finding:
    """The places in img2dataset where our fetch takes the place of its own."""
    from .download.img2dataset_adapter import missing_parts

    try:
        missing = missing_parts()
    except ImportError as error:
        return Finding("download", "fault", str(error), "pip install img2dataset")
    if missing:
        detail = f"this img2dataset has no {', '.join(missing)}"
        return Finding("download", "fault", detail, "pip install 'img2dataset==1.47.0'")
    return Finding("download", "ok", "the guarded fetch fits this img2dataset")


def _hub() -> Finding:
    from visunex.net.errors import FetchError
    from visunex.net.probe import get

    hub = os.environ.get("HF_ENDPOINT", _HUB)
    try:
        status = get(hub, most=0).status
    except FetchError as error:
        return Finding("hub", "note", error.message, "give local paths or a mirror; behind a proxy --proxy")
    return Finding("hub", "ok", f"{hub} answers (HTTP {status})")


def as_text(findings: list[Finding]) -> str:
    """The findings as lines: a mark, what, detail, and advice where there is some."""
    return "\n".join(
        f"{_MARKS[each.verdict]:<5} {each.what:<16} {each.detail}"
        + (f"\n{'':23}-> {each.advice}" if each.advice else "")
        for each in findings
    )


def as_rows(findings: list[Finding]) -> tuple[tuple[str, str, str], ...]:
    """The findings as rows of a table: the same as `as_text`."""
    return tuple(
        (_MARKS[each.verdict], each.what, each.detail + (f"\n-> {each.advice}" if each.advice else ""))
        for each in findings
    )
