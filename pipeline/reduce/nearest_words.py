"""Words that say what a vector is about: those of the images' captions that lie nearest to it."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, parquet_errors

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder
    from visunex.clip.text_encoder import TextEncoder

    from ..vectors.store import VectorFolder

__all__ = ["Word", "WordVectors", "captions_of", "frequent_words", "word_counts", "word_vectors", "words_of"]

MOST_WORDS = 100  # encoding them takes seconds with ViT-L-14 on two cores
MOST_CAPTIONS = 5000
NEAREST = 8
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_COMMON = frozenset(
    _LETTERS.findall(
        "about all and are but for from has have her his how into its new not off one our out over that the "
        "their them this two under was what when where which who will with you your"
    )
)


@dataclass(frozen=True)
class Word:
    """A word and the cosine of its text vector to a vector."""

    word: str
    cosine: float


@dataclass(frozen=True)
class WordVectors:
    """Words, and the unit vectors float64 [n, D] of texts that name them."""

    words: tuple[str, ...]
    units: NDArray[np.float64]

    def nearest(self, vector: NDArray[np.floating[Any]], count: int = NEAREST) -> tuple[Word, ...]:
        """The `count` words nearest to a vector of D numbers, nearest first."""
        direction = vector.astype(np.float64).reshape(-1)
        cosines = self.units @ (direction / np.linalg.norm(direction))
        best = np.argsort(-cosines, kind="stable")[:count]
        return tuple(Word(self.words[place], float(cosines[place])) for place in best)


def word_vectors(captions: Iterable[str | None], encoder: "TextEncoder") -> WordVectors | None:
    """The `MOST_WORDS` most frequent words of `captions`, but common ones; None without any."""
    words = frequent_words(captions)
    if not words:
        return None
    vectors = encoder.encode([f"a picture of {word}" for word in words]).astype(np.float64)
    return WordVectors(tuple(words), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def words_of(vectors: "VectorFolder", image_encoder: "ImageEncoder") -> WordVectors | None:
    """The words of the images' captions; None where these say nothing, or the model has no words."""
    captions = captions_of(part.metadata for part in vectors.parts if part.metadata is not None)
    if not any(captions):
        return None
    from visunex.clip.factory import load_text_encoder

    try:
        encoder = load_text_encoder(
            image_encoder.model, image_encoder.pretrained, device=image_encoder.device
        )
    except ModelError:  # weights of an image encoder alone, or a tokenizer that is not here
        return None
    return word_vectors(captions, encoder)


def frequent_words(captions: Iterable[str | None], most: int = MOST_WORDS) -> list[str]:
    """The most frequent words of three letters or more, in lower case; ties in alphabetical order."""
    counts = word_counts(captions)
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]


def word_counts(captions: Iterable[str | None]) -> Counter[str]:
    """How many of the captions have each word of three letters or more, in lower case, but common ones."""
    return Counter(
        word
        for caption in captions
        for word in set(_LETTERS.findall((caption or "").lower()))
        if word not in _COMMON
    )


def captions_of(metadata: Iterable[Path]) -> list[str | None]:
    """The captions in tables of clip-retrieval's layout, the first `MOST_CAPTIONS` of them.

    A table that cannot be read has none: the words are an aside.
    """
    import pyarrow.parquet as pq

    captions: list[str | None] = []
    for path in metadata:
        with contextlib.suppress(*parquet_errors()):
            if "caption" in pq.read_schema(path).names:
                captions += pq.read_table(path, columns=["caption"])["caption"].to_pylist()
        if len(captions) >= MOST_CAPTIONS:
            break
    return captions[:MOST_CAPTIONS]
