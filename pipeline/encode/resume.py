"""What a part of vectors says of its pictures, so that none is encoded twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..shards.samples import Sample
from ..vectors.store import Part, read_notes

Picture = tuple[str, int, int]  # a picture's name, and where its bytes lie: offset and size


@dataclass(frozen=True, eq=False)
class Vector:
    """A picture's vector: `row` float32 [D] as the tower gave it or normalised, and how long it was."""

    row: NDArray[np.float32]
    norm: float


Known = Mapping[Picture, Vector | str]  # a picture's vector, or the class of reason why it has none


def picture_of(sample: Sample) -> Picture:
    """What tells a picture from all others of its partition."""
    return sample.where, sample.offset, sample.size


def read_known(part: Part, tower: str) -> Known:
    """The pictures of a finished part of ours whose vectors are of `tower`; none of any other part."""
    import pyarrow.parquet as pq

    notes = read_notes(part)
    if notes is None or notes.get("tower") != tower or part.metadata is None:
        return {}
    table = pq.read_table(part.metadata, columns=["image_path", "norm"])
    rows = zip(
        table["image_path"].to_pylist(),
        notes["places"],
        np.load(part.vectors, allow_pickle=False),
        table["norm"].to_pylist(),
        strict=True,
    )
    vectors = {(name, *place): Vector(row, norm) for name, place, row, norm in rows}
    return {**vectors, **{(name, *place): reason for name, *place, reason in notes["without_vector"]}}


def notes_on(samples: Sequence[Sample], known: Known) -> dict[str, Any]:
    """What `read_known` wants to find in the notes of a part with these samples."""
    pictures = [(picture, known[picture]) for picture in map(picture_of, samples)]
    return {
        "places": [picture[1:] for picture, found in pictures if isinstance(found, Vector)],
        "without_vector": [[*picture, found] for picture, found in pictures if isinstance(found, str)],
    }
