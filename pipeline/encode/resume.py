"""What parts of vectors say of their images, so that none is encoded twice.

Those of an earlier selection of a run count as well: there an image is known by the SHA-256 of its file.
"""

import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.files import fingerprint
from visunex.clip.identity import model_of

from ..earlier import numbered, set_aside
from ..errors import parquet_errors
from ..rundir import RunDir
from ..shards.samples import Partition, Sample
from ..vectors.npy import NPY_ERRORS
from ..vectors.store import Part, part_numbers, part_paths, provenance_if_whole, write_part

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder
    from visunex.recipes.schema import Encode

__all__ = [
    "MOST_EXAMPLES",
    "EarlierVectors",
    "ImageKey",
    "Results",
    "Vector",
    "begin_published",
    "begin_vectors",
    "drop_earlier",
    "encoder_fingerprint",
    "image_key",
    "part_fingerprint",
    "read_results",
    "why_not_added",
    "write_results",
]

_VECTORS = "vectors"  # of earlier selections
_OF_ROWS = ("rows", "rest")  # which decide what there are published vectors of, not which ones
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
        found = _results_of(part, encoder)
    except parquet_errors(*NPY_ERRORS):  # damaged since: its images are encoded again
        return {}
    hashes = (provenance_if_whole(part) or {}).get("hashes", {}) if found else {}
    keys = (image_key(each) for each in samples if each.sha256 == hashes.get(each.where, each.sha256))
    return {key: found[key] for key in keys if key in found}


def _results_of(part: Part, encoder: "ImageEncoder") -> Results:
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


class EarlierVectors:
    """What earlier vectors of the run whose vectors lie in `folder` say of images, by the file's SHA-256.

    Only those of this encoder count.
    """

    def __init__(self, folder: Path, encoder: "ImageEncoder") -> None:
        self._folder, self._encoder = folder, encoder

    def of(self, samples: Iterable[Sample]) -> Results:
        """What is said of these images."""
        return {
            image_key(each): self._by_hash[each.sha256] for each in samples if each.sha256 in self._by_hash
        }

    @cached_property
    def _by_hash(self) -> dict[str | None, Vector | str]:
        found: dict[str | None, Vector | str] = {}
        for part in _parts(self._folder):
            hashes = (provenance_if_whole(part) or {}).get("hashes", {})
            results = _results_of(part, self._encoder)
            found |= {hashes[where]: said for (where, *_), said in results.items() if where in hashes}
        return found


def begin_vectors(
    run: RunDir,
    made_from: dict[str, Any],
    *,
    own: bool,
    overwrite: bool,
    varying: Collection[str] = ("images",),
) -> None:
    """Begin encode in a run; where its `own` pictures were added to, they may be others than they were.

    `varying` are the names in `made_from` that say which they are.
    """
    if overwrite:
        shutil.rmtree(run.earlier / _VECTORS, ignore_errors=True)
    before, added = run.made_from("encode"), own and (run.earlier / _VECTORS).exists()
    now = json.loads(json.dumps(made_from))  # as it comes back from the file
    if before and added and {**before, **{name: now[name] for name in varying}} == now:
        run.note("encode", made_from)
    run.begin("encode", made_from, overwrite=overwrite)


def begin_published(
    run: RunDir, made_from: dict[str, Any], links: Collection[str | None], *, adds: bool, overwrite: bool
) -> None:
    """Begin encode in a run of published vectors, of rows with these `links`.

    Where it `adds`, a run without pictures may have vectors of others, if some are the same.
    """
    from ..vectors.lookup import links_in

    now = json.loads(json.dumps(made_from))
    before = {**(run.made_from("encode") or {}), **{name: now[name] for name in _OF_ROWS}}
    if adds and not overwrite and before == now and run.made_from("download") is None:
        there = links_in(run.vectors)
        if there != {*links} and not there.isdisjoint(filter(None, links)):
            set_aside(run)
    begin_vectors(run, made_from, own=True, overwrite=overwrite, varying=_OF_ROWS)


def why_not_added(run: RunDir, settings: "Encode", links: Collection[str]) -> str:
    """Why a run of published vectors alone is not made one of these `links`; empty where it is.

    It is where it has vectors of some of them, from where the settings would take them.
    """
    from ..vectors.lookup import links_in

    before, model = run.made_from("encode") or {}, [*model_of(settings.model, settings.pretrained)]
    if before.get("precomputed") != settings.vectors_place or before.get("model") != model:
        return "it has no such published vectors yet, so that --overwrite loses none"
    if links_in(run.vectors).isdisjoint(links):
        return "it has no vector in common with what is asked for now"
    return ""


def drop_earlier(vectors: Path, encoder: "ImageEncoder | None") -> None:
    """Remove the earlier parts of this encoder of which all images have their vector in `vectors` now.

    Published vectors are of none of ours.
    """
    own = encoder and encoder_fingerprint(encoder)
    there = {each for number in part_numbers(vectors) for each in _hashes(part_paths(vectors, number))}
    for part in _parts(vectors):
        made = provenance_if_whole(part) or {}
        if part.metadata is not None and made.get("tower", own) == own and _hashes(part) <= there:
            part.metadata.unlink()
            part.vectors.unlink()


def _parts(vectors: Path) -> list[Part]:
    folders = numbered(RunDir(vectors.parent).earlier / _VECTORS)
    return [part_paths(folder, number) for folder in folders for number in part_numbers(folder)]


def _hashes(part: Part) -> set[str]:
    return {*(provenance_if_whole(part) or {}).get("hashes", {}).values()}
