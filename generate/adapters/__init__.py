"""Models that take an image's CLIP vector itself: an aesthetic embedding put in its place, no gradients.

Each function gives arguments for that diffusers pipeline's own `__call__`: `pooled` for SDXL's pooled vector,
`ip_adapter` for plain IP-Adapters (SD 1.x, SDXL, FLUX.1), `unclip` for Kandinsky 2.1 and 2.2 and Stable
unCLIP. Reads embeddings, writes nothing. May import `aesthetic_embeddings`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .image_prompt import ip_adapter as ip_adapter
    from .image_prompt import style_only as style_only
    from .pooled import pooled as pooled
    from .prior import unclip as unclip

__all__ = ["ip_adapter", "pooled", "style_only", "unclip"]
__getattr__, __dir__ = public(
    __name__,
    {"ip_adapter": "image_prompt", "pooled": "pooled", "style_only": "image_prompt", "unclip": "prior"},
)
