"""VisuNex's nodes for ComfyUI: this folder, copied or linked into ComfyUI/custom_nodes."""

import importlib.util
import sys

if importlib.util.find_spec("visunex") is None:
    raise ImportError(
        "VisuNex is not installed in the Python that runs ComfyUI: in a clone of it, "
        f"`{sys.executable} -m pip install .`"
    )

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
