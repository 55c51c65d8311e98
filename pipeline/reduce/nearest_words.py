"""The words that say what an embedding is about: those of the images' captions that lie nearest to it."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, parquet_errors

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder
    from visunex.clip.text_encoder import TextEncoder

    from ..vectors.store import VectorFolder

__all__ = ["Word", "captions_of", "frequent_words", "nearest_words", "words_about"]

MOST_WORDS = 100  # encoding them takes seconds with ViT-L-14 on two cores
MOST_CAPTIONS = 5000
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_COMMON = frozenset(
    _LETTERS.findall(
        "about all and are but for from has have her his how into its new not off one our out over that the "
        "their them this two under was what when where which who will with you your"
    )
)


@dataclass(frozen=True)
class Word:
    """A word and the cosine of its text vector to the embedding."""

    word: str
    cosine: float


def nearest_words(
    embedding: NDArray[np.float32], captions: Iterable[str | None], encoder: "TextEncoder", count: int = 8
) -> tuple[Word, ...]:
    """The `count` words of `captions` whose text vectors lie nearest to `embedding` [1, D], nearest first.

    Chosen among the `MOST_WORDS` most frequent words, those too common in any text left out.
    """
    words = frequent_words(captions)
    if not words:
        return ()
    vectors = encoder.encode([f"a picture of {word}" for word in words]).astype(np.float64)
    direction = embedding.astype(np.float64).reshape(-1)
    cosines = vectors @ direction / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(direction))
    best = np.argsort(-cosines, kind="stable")[:count]
    return tuple(Word(words[place], float(cosines[place])) for place in best)


def words_about(
    vector: NDArray[np.float32], vectors: "VectorFolder", image_encoder: "ImageEncoder"
) -> tuple[Word, ...]:
    """What the embedding is about; nothing where the images have no captions, or the model no words."""
    captions = captions_of(part.metadata for part in vectors.parts if part.metadata is not None)
    if not any(captions):
        return ()
    from visunex.clip.factory import load_text_encoder

    try:
        encoder = load_text_encoder(
            image_encoder.model, image_encoder.pretrained, device=image_encoder.device
        )
    except ModelError:  # weights of an image encoder alone, or a tokenizer that is not here
        return ()
    return nearest_words(vector, captions, encoder)


def frequent_words(captions: Iterable[str | None], most: int = MOST_WORDS) -> list[str]:
    """The most frequent words of three letters or more, in lower case; ties in alphabetical order."""
    counts = Counter(
        word
        for caption in captions
        for word in set(_LETTERS.findall((caption or "").lower()))
        if word not in _COMMON
    )
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]


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
