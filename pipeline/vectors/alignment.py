"""Whether row n of the vectors is row n of the metadata, told by what they hold: captions and images.

Counts do not tell a table that lost a row at its beginning and one at its end. A caption's text vector lies
nearer to its own image's vector than to that of the row before or behind; over 200 rows that is no chance.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import first_line

from ..errors import EncodeError, ModelError, parquet_errors
from .lookup import Hit, read_rows
from .remote_store import PublishedFolder, PublishedPart, as_texts, header, named, opened

if TYPE_CHECKING:
    from visunex.clip.text_encoder import TextEncoder

__all__ = ["require_aligned"]

_ROWS, _SHIFTS = 200, (-1, 1)
_SURE = 4.0  # standard errors: once in 16,000 tries by chance
_CAPTIONS = ("caption", "text", "txt", "alt", "title", "prompt")


@dataclass(frozen=True)
class _Sample:
    """Rows of a part with captions, and these."""

    rows: NDArray[np.int64]
    captions: list[str]


def require_aligned(folder: PublishedFolder, model: str, pretrained: str) -> None:
    """Raise EncodeError unless each part's captions fit its own rows better than the rows beside them.

    `model` is that of the vectors, whose text encoder is needed. Nothing is looked at where the folder's
    layout says how rows belong together.
    """
    if folder.by_layout:
        return
    from visunex.clip.factory import load_text_encoder

    try:
        text = load_text_encoder(model, pretrained)
    except ModelError as error:
        raise EncodeError(
            f"{folder.place}: only names say which rows belong to which vectors, so captions are compared "
            f"with vectors first, and for that the text encoder is needed: {error}"
        ) from None
    for part in folder.parts:
        _require_aligned(folder, part, text)


def _require_aligned(folder: PublishedFolder, part: PublishedPart, encoder: "TextEncoder") -> None:
    sample, number = _sample(part), folder.parts.index(part)
    if len(sample.rows) < 2:
        raise EncodeError(
            f"{part.metadata.name} has no captions, so nothing shows that its rows are those of "
            f"{part.vectors.name}: {_WHAT_NEXT}"
        )
    texts = _units(encoder.encode(sample.captions))
    own = _cosines(folder, number, sample.rows, texts)
    beside = {shift: _cosines(folder, number, sample.rows + shift, texts) for shift in _SHIFTS}
    for shift, cosines in beside.items():
        if _is_surely(cosines - own):
            raise EncodeError(
                f"the captions of {part.metadata.name} fit the vectors of {part.vectors.name} one row "
                f"{'further on' if shift > 0 else 'before'}: they do not belong together; {part.advice}"
            )
    if not all(_is_surely(own - cosines) for cosines in beside.values()):
        raise EncodeError(
            f"the captions of {part.metadata.name} fit the vectors of {part.vectors.name} no better than "
            "those of the rows beside them: they do not belong together, or are of another model; "
            f"{_WHAT_NEXT}"
        )


_WHAT_NEXT = "put them into clip-retrieval's layout, or into one parquet with a list column, if you are sure"


def _sample(part: PublishedPart) -> _Sample:
    """Up to so many rows with captions, spread over the part, not the first and the last."""
    file, count = opened(part), header(part.vectors).count
    names = file.schema_arrow.names
    column = next((own for each in _CAPTIONS if (own := named(names, each)) is not None), None)
    rows = (
        np.unique(np.linspace(1, count - 2, _ROWS).astype(np.int64)) if count > 2 else np.zeros(0, np.int64)
    )
    if column is None or not len(rows):
        return _Sample(rows[:0], [])
    captions: list[str | None] = []
    begin = 0
    try:
        for batch in file.iter_batches(1 << 16, columns=[column], use_threads=False):
            here = rows[(rows >= begin) & (rows < begin + len(batch))] - begin
            captions += as_texts(batch.column(0))[here.tolist()].to_list()
            begin += len(batch)
    except parquet_errors() as error:
        raise EncodeError(f"{part.metadata.name} cannot be read: {first_line(error)}") from None
    kept = [place for place, caption in enumerate(captions) if caption and caption.strip()]
    return _Sample(rows[kept], [str(captions[place])[:1000] for place in kept])


def _cosines(
    folder: PublishedFolder, part: int, rows: NDArray[np.int64], texts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cosine of each text with the vector of its row; NaN where that is no vector."""
    vectors = read_rows(folder, [Hit(part, int(row), None) for row in rows])
    if vectors.shape[1] != texts.shape[1]:
        raise EncodeError(
            f"{folder.place} holds vectors of {vectors.shape[1]} dimensions, the model's texts have "
            f"{texts.shape[1]}: name the right one with --model"
        )
    found: NDArray[np.float64] = np.einsum("nd,nd->n", _units(vectors), texts)
    return found


def _units(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)


def _is_surely(differences: NDArray[np.float64]) -> bool:
    """Whether the mean of differences is above 0 beyond chance."""
    found = differences[np.isfinite(differences)]
    if len(found) < 2:
        return False
    error = found.std(ddof=1) / np.sqrt(len(found))
    return bool(found.mean() > _SURE * error and found.mean() > 0)
