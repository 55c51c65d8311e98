"""A small drawn world to try everything on: images, their metadata, a web server and two tiny models.

Reads its committed weights; writes nothing, save where its models are trained anew. May import `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .server import serve as serve
    from .tiny import TINY_MODEL as TINY_MODEL
    from .world import World as World
    from .world import metadata as metadata
    from .world import metadata_bytes as metadata_bytes

__all__ = ["TINY_MODEL", "World", "metadata", "metadata_bytes", "serve"]

__getattr__, __dir__ = public(
    __name__,
    {
        "TINY_MODEL": "tiny",
        "World": "world",
        "metadata": "world",
        "metadata_bytes": "world",
        "serve": "server",
    },
)
