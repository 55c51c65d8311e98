"""What was added to a model, as images say of it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["AddedFile"]


@dataclass(frozen=True, kw_only=True)
class AddedFile:
    """A file that was added to a model.

    `path` is absolute, `sha256` of all its bytes. `short_hash` is by what the web UI tells such files apart.
    `scale` is a LoRA's, `word` what a textual inversion is called in prompts.
    `left_out` are names in the file that fit nothing in the model: they are said, and not part of an image.
    """

    kind: Literal["lora", "textual_inversion", "vae", "ip_adapter"]
    path: str
    sha256: str
    short_hash: str
    scale: float | None = None
    word: str | None = None
    left_out: tuple[str, ...] = ()
