"""Prompts as people write them: the Stable Diffusion web UI's weights and chunks, lines of prompt files.

`weighted` reads weights and `BREAK`, `chunks_of` cuts what was read to the length of a text encoder, `weigh`
lays the weights on what that gives, `resolved` says what of the syntax is not done here, which `sections_of`
refuses; `options_in` reads a line. Reads prompt files, writes nothing. May import `errors` and `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .changes import Resolved as Resolved
    from .changes import resolved as resolved
    from .changes import sections_of as sections_of
    from .chunks import Chunk as Chunk
    from .chunks import chunks_of as chunks_of
    from .emphasis import weigh as weigh
    from .lines import options_in as options_in
    from .weights import Piece as Piece
    from .weights import as_letters as as_letters
    from .weights import weighted as weighted

__all__ = [
    "Chunk",
    "Piece",
    "Resolved",
    "as_letters",
    "chunks_of",
    "options_in",
    "resolved",
    "sections_of",
    "weigh",
    "weighted",
]
__getattr__, __dir__ = public(
    __name__,
    {
        "Chunk": "chunks",
        "Piece": "weights",
        "Resolved": "changes",
        "as_letters": "weights",
        "options_in": "lines",
        "chunks_of": "chunks",
        "resolved": "changes",
        "sections_of": "changes",
        "weigh": "emphasis",
        "weighted": "weights",
    },
)
