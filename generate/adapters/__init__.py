"""Models that take an image's CLIP vector itself: an aesthetic embedding put in its place, no gradients.

Each function gives arguments for that diffusers pipeline's own `__call__`: `pooled` for SDXL's pooled vector,
`ip_adapter` for plain IP-Adapters (SD 1.x, SDXL, FLUX.1), `unclip` for Kandinsky 2.1 and 2.2 and Stable
unCLIP; `image_vector` is what they all make of a taste first. Reads embeddings, writes nothing. May import
`taste` and `aesthetic_embeddings`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .image_prompt import ip_adapter as ip_adapter
    from .image_prompt import style_only as style_only
    from .pooled import pooled as pooled
    from .prior import unclip as unclip
    from .vector import ImageVector as ImageVector
    from .vector import image_vector as image_vector

__all__ = ["ImageVector", "image_vector", "ip_adapter", "pooled", "style_only", "unclip"]
__getattr__, __dir__ = public(
    __name__,
    {
        "ImageVector": "vector",
        "image_vector": "vector",
        "ip_adapter": "image_prompt",
        "pooled": "pooled",
        "style_only": "image_prompt",
        "unclip": "prior",
    },
)
