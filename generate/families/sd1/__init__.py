"""Stable Diffusion 1.x: its parts from a folder or a file, and its text side."""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .checkpoint import load_checkpoint as load_checkpoint
    from .folder import load_folder as load_folder
    from .folder import load_tiny as load_tiny
    from .model import Model as Model
    from .text_encoder import text_projection as text_projection

__all__ = ["Model", "load_checkpoint", "load_folder", "load_tiny", "text_projection"]
__getattr__, __dir__ = public(
    __name__,
    {
        "Model": "model",
        "load_checkpoint": "checkpoint",
        "load_folder": "folder",
        "load_tiny": "folder",
        "text_projection": "text_encoder",
    },
)
