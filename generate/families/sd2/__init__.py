"""Stable Diffusion 2.x: its parts from a folder or a file, and what its folders leave out of ViT-H."""

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
