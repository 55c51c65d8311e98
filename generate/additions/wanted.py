"""Which files are to be added to a model, and how strongly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError

__all__ = ["Additions", "Lora", "parse_lora"]


@dataclass(frozen=True)
class Lora:
    """A file with a LoRA, and how strongly it counts: 1 as it was trained, 0 not at all, below 0 reversed."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What is added to a model: LoRAs, textual inversions (words for prompts), a VAE in its own's place, and
    an IP-Adapter, which does nothing until it is given an image's vector."""

    loras: tuple[Lora, ...] = ()
    textual_inversions: tuple[Path, ...] = ()
    vae: Path | None = None
    ip_adapter: Path | None = None

    @classmethod
    def of(
        cls,
        loras: Sequence[str | Path | Lora] = (),
        textual_inversions: Sequence[str | Path] = (),
        vae: str | Path | None = None,
        ip_adapter: str | Path | None = None,
    ) -> "Additions":
        """The same of paths; a LoRA may be written `FILE:0.7`. Raises UsageError for a scale that is none."""
        return cls(
            loras=tuple(each if isinstance(each, Lora) else parse_lora(str(each)) for each in loras),
            textual_inversions=tuple(map(Path, textual_inversions)),
            vae=None if vae is None else Path(vae),
            ip_adapter=None if ip_adapter is None else Path(ip_adapter),
        )

    def __bool__(self) -> bool:
        return bool(self.loras or self.textual_inversions or self.vae or self.ip_adapter)


def parse_lora(text: str) -> Lora:
    """`FILE` or `FILE:SCALE`; a file whose own name ends so is meant as it is. Raises UsageError."""
    name, colon, scale = text.rpartition(":")
    if not colon or not name or "/" in scale or "\\" in scale or Path(text).exists():
        return Lora(_path(text))
    try:
        number = float(scale)
    except ValueError:
        raise UsageError(f"the LoRA {text} has no scale behind its colon: write it as {name}:0.7") from None
    if not math.isfinite(number):
        raise UsageError(f"the scale of the LoRA {name} is {scale}: give a finite number such as 0.7")
    return Lora(_path(name), number)


def _path(text: str) -> Path:
    if not text:
        raise UsageError("the name of a LoRA is empty: give its file")
    return Path(text)
