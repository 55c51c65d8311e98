"""What a part of vectors says of its images, so that none is encoded twice."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.files import fingerprint

from ..errors import parquet_errors
from ..shards.samples import Partition, Sample
from ..vectors.npy import NPY_ERRORS
from ..vectors.store import Part, provenance_if_whole, write_part

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder

__all__ = [
    "MOST_EXAMPLES",
    "ImageKey",
    "Results",
    "Vector",
    "encoder_fingerprint",
    "image_key",
    "part_fingerprint",
    "read_results",
    "results_of",
    "write_results",
]

MOST_EXAMPLES = 5  # images named in a report for each reason

ImageKey = tuple[str, int, int]  # an image's name, and where its bytes lie: offset and size


@dataclass(frozen=True, eq=False)
class Vector:
    """An image's vector: `row` float32 [D] as the encoder gave it or normalised, and how long it was."""

    row: NDArray[np.float32]
    norm: float


Results = Mapping[ImageKey, Vector | str]  # an image's vector, or the kind of reason why it has none


def image_key(sample: Sample) -> ImageKey:
    """What tells an image from all others of its partition."""
    return sample.where, sample.offset, sample.size


def encoder_fingerprint(encoder: "ImageEncoder") -> str:
    """A hash of what vectors must have in common to stand in one part."""
    return fingerprint([encoder.identity(), encoder.precision])


def part_fingerprint(partition: Partition, encoder: "ImageEncoder") -> str:
    """A hash of what a finished part was made from: the encoder and the images, wherever their run lies."""
    images = [
        [each.key, each.where, each.offset, each.size, each.caption, each.url, each.score, each.sha256]
        for each in partition.samples
    ]
    return fingerprint([encoder.identity(), encoder.precision, images])


def read_results(part: Part, samples: Sequence[Sample], encoder: "ImageEncoder") -> Results:
    """What an earlier call found of these samples; nothing where the part is not ours or this encoder's.

    Another file at the same place is another image.
    """
    try:
        found = results_of(part, encoder)
    except parquet_errors(*NPY_ERRORS):  # damaged since: its images are encoded again
        return {}
    hashes = (provenance_if_whole(part) or {}).get("hashes", {}) if found else {}
    keys = (image_key(each) for each in samples if each.sha256 == hashes.get(each.where, each.sha256))
    return {key: found[key] for key in keys if key in found}


def results_of(part: Part, encoder: "ImageEncoder") -> Results:
    """What a part of ours and of this encoder says of its images. Raises what reading it raises."""
    import pyarrow.parquet as pq

    made = provenance_if_whole(part)
    if made is None or made.get("tower") != encoder_fingerprint(encoder) or part.metadata is None:
        return {}
    table = pq.read_table(part.metadata, columns=["image_path", "norm"])
    rows = zip(
        table["image_path"].to_pylist(),
        made["places"],
        np.load(part.vectors, allow_pickle=False),
        table["norm"].to_pylist(),
        strict=True,
    )
    vectors = {(name, *place): Vector(row, norm) for name, place, row, norm in rows}
    return {**vectors, **{(name, *place): reason for name, *place, reason in made["without_vector"]}}


def write_results(
    part: Part, samples: Sequence[Sample], results: Results, encoder: "ImageEncoder", made_from: str
) -> dict[str, Any]:
    """Write a part of what was found of its samples; returns its provenance.

    `made_from` is its `part_fingerprint`.
    """
    found = [(each, results[image_key(each)]) for each in samples]
    kept = [(each, vector) for each, vector in found if isinstance(vector, Vector)]
    failures = [(each, reason) for each, reason in found if isinstance(reason, str)]
    provenance = {
        "stamp": made_from,
        "tower": encoder_fingerprint(encoder),
        "identity": encoder.identity(),
        "model": [encoder.model, encoder.pretrained],
        "images": len(samples),
        "failed": dict(Counter(kind for _, kind in failures)),
        "examples": _examples(failures),
        "places": [image_key(each)[1:] for each, _ in kept],
        "without_vector": [[*image_key(each), kind] for each, kind in failures],
        "hashes": {each.where: each.sha256 for each in samples if each.sha256},
    }
    rows = [np.zeros((0, encoder.dimension), np.float32), *(vector.row[None] for _, vector in kept)]
    norms = np.array([vector.norm for _, vector in kept])
    write_part(part, np.concatenate(rows), [each for each, _ in kept], provenance, norms)
    return provenance


def _examples(failures: Sequence[tuple[Sample, str]]) -> dict[str, list[str]]:
    """The names of the first failures of each kind."""
    found: dict[str, list[str]] = {}
    for sample, kind in failures:
        found.setdefault(kind, []).append(sample.where)
    return {kind: names[:MOST_EXAMPLES] for kind, names in found.items()}
