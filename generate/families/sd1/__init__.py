"""Stable Diffusion 1.x: its parts, from a name, a folder or a file."""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .model import Model as Model
    from .model import load as load

__all__ = ["Model", "load"]
__getattr__, __dir__ = public(__name__, {"Model": "model", "load": "model"})
