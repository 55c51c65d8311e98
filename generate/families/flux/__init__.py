"""FLUX.1: its parts from a folder, and how it is conditioned. May import `families`."""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .folder import load_folder as load_folder
    from .model import Model as Model

__all__ = ["Model", "load_folder"]
__getattr__, __dir__ = public(__name__, {"Model": "model", "load_folder": "folder"})
