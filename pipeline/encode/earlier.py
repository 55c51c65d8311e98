"""Vectors of pictures that a run encoded for an earlier selection: known by the pictures' files."""

import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..rundir import RunDir
from ..shards.earlier import numbered
from ..shards.samples import Sample
from ..vectors.store import Part, part_numbers, part_paths, provenance_if_whole
from .resume import Results, Vector, image_key, results_of

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder

__all__ = ["EarlierVectors", "begin_vectors", "drop_taken_over"]

_VECTORS = "vectors"  # of earlier selections


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
            results = results_of(part, self._encoder)
            found |= {hashes[where]: said for (where, *_), said in results.items() if where in hashes}
        return found


def begin_vectors(run: RunDir, made_from: dict[str, Any], *, own: bool, overwrite: bool) -> None:
    """Begin encode in a run; where its `own` pictures were added to, they may be others than they were."""
    if overwrite:
        shutil.rmtree(run.earlier / _VECTORS, ignore_errors=True)
    before, added = run.made_from("encode"), own and (run.earlier / _VECTORS).exists()
    if before and added and {**before, "images": made_from["images"]} == made_from:
        run.note("encode", made_from)
    run.begin("encode", made_from, overwrite=overwrite)


def drop_taken_over(vectors: Path) -> None:
    """Remove the earlier parts of which all images have their vector in `vectors` now."""
    there = {each for number in part_numbers(vectors) for each in _hashes(part_paths(vectors, number))}
    for part in _parts(vectors):
        if part.metadata is not None and _hashes(part) <= there:
            part.metadata.unlink()
            part.vectors.unlink()


def _parts(vectors: Path) -> list[Part]:
    folders = numbered(RunDir(vectors.parent).earlier / _VECTORS)
    return [part_paths(folder, number) for folder in folders for number in part_numbers(folder)]


def _hashes(part: Part) -> set[str]:
    return {*(provenance_if_whole(part) or {}).get("hashes", {}).values()}
