"""The artefact: load, save, reduce, compare and mix aesthetic embeddings; the published ones by name."""

from .arithmetic import compare, mix
from .artefact import Embedding, load, save
from .catalogue import Published, catalogue
from .errors import EmbeddingError
from .fetching import fetch
from .finding import find, findable
from .reduction import reduce

__all__ = [
    "Embedding",
    "EmbeddingError",
    "Published",
    "catalogue",
    "compare",
    "fetch",
    "find",
    "findable",
    "load",
    "mix",
    "reduce",
    "save",
]
