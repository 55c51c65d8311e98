"""A small drawn world to try everything on: images, their metadata, a web server and three tiny models.

Reads its committed weights; writes nothing, save where its models are trained anew. May import `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .server import serve as serve
    from .tiny import CLIP_FOLDERS as CLIP_FOLDERS
    from .tiny import JUDGE_MODEL as JUDGE_MODEL
    from .tiny import TINY_MODEL as TINY_MODEL
    from .world import World as World
    from .world import metadata as metadata
    from .world import metadata_bytes as metadata_bytes

__all__ = ["CLIP_FOLDERS", "JUDGE_MODEL", "TINY_MODEL", "World", "metadata", "metadata_bytes", "serve"]

__getattr__, __dir__ = public(
    __name__,
    {
        "CLIP_FOLDERS": "tiny",
        "JUDGE_MODEL": "tiny",
        "TINY_MODEL": "tiny",
        "World": "world",
        "metadata": "world",
        "metadata_bytes": "world",
        "serve": "server",
    },
)
