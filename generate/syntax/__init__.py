"""Prompts as the Stable Diffusion web UI has people write them: weights, chunks, and what else stands there.

`weighted` reads weights and `BREAK`, `chunks_of` cuts what was read to the length of a text encoder, `weigh`
lays the weights on what that gives, `resolved` says what of the syntax is not done here. Reads texts, writes
nothing. May import `errors` and `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .changes import Resolved as Resolved
    from .changes import resolved as resolved
    from .chunks import Chunk as Chunk
    from .chunks import chunks_of as chunks_of
    from .emphasis import weigh as weigh
    from .weights import Piece as Piece
    from .weights import weighted as weighted

__all__ = ["Chunk", "Piece", "Resolved", "chunks_of", "resolved", "weigh", "weighted"]
__getattr__, __dir__ = public(
    __name__,
    {
        "Chunk": "chunks",
        "Piece": "weights",
        "Resolved": "changes",
        "chunks_of": "chunks",
        "resolved": "changes",
        "weigh": "emphasis",
        "weighted": "weights",
    },
)
