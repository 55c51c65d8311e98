"""SDXL and its children: their parts from a folder or a file, and their text side, which is two encoders."""

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
