"""The artefact: load, save, reduce, compare and mix aesthetic embeddings; the published ones by name.

Reads and writes `NAME.pt` with `NAME.json` beside it. May import `net`, `demo` and `base`.
"""

from .arithmetic import compare, mix, save_mix
from .artefact import Embedding, load, save
from .catalogue import Published, catalogue
from .errors import EmbeddingError
from .finding import fetch, find, find_published, findable
from .reduction import reduce

__all__ = [
    "Embedding",
    "EmbeddingError",
    "Published",
    "catalogue",
    "compare",
    "fetch",
    "find",
    "find_published",
    "findable",
    "load",
    "mix",
    "reduce",
    "save",
    "save_mix",
]


def __dir__() -> list[str]:
    return sorted(__all__)
