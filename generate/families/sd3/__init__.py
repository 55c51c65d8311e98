"""Stable Diffusion 3 and 3.5: parts from a folder or a file, how prompts condition. May import `families`."""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .checkpoint import load_checkpoint as load_checkpoint
    from .folder import load_folder as load_folder
    from .model import Model as Model

__all__ = ["Model", "load_checkpoint", "load_folder"]
__getattr__, __dir__ = public(
    __name__, {"Model": "model", "load_checkpoint": "checkpoint", "load_folder": "folder"}
)
