"""The vectors that a contrast stands against: a run's, a folder's, or made of the images at a place."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from visunex.base.errors import UsageError
from visunex.base.files import write_json
from visunex.base.folders import RUNS

from ..errors import EncodeError
from ..stored import run_or_place
from ..vectors.store import VectorFolder, is_vector_folder, read_vectors

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder

__all__ = ["baseline_place", "begin_baseline", "encoded_baseline", "published_baseline"]


def baseline_place(name: str) -> str | Path:
    """The place that a baseline is given by: a path, else the run of that name; an address that is no run's.

    Raises StorageError.
    """
    if isinstance(found := run_or_place(name), Path) or "://" in name:
        return found
    place = Path(name)
    return RUNS / place if not place.exists() and (RUNS / place).exists() else place


def encoded_baseline(place: str | Path, encoder: "ImageEncoder", space: str = "") -> VectorFolder | None:
    """The vectors that are at the place; None where there are none. A further encoder's bear its `space`.

    Raises EncodeError where they are of another encoder.
    """
    if isinstance(place, str):
        return None
    own = place / f"vectors-{space}"
    vectors = (read_vectors(own) if is_vector_folder(own) else None) if space else _vectors_at([place])
    if vectors is None and space and is_vector_folder(place):
        raise EncodeError(
            f"the baseline {place} holds vectors and no pictures, and {encoder.model} (--also) needs these: "
            "name a run or pictures with --baseline"
        )
    if vectors is not None and any(each != encoder.identity() for each in vectors.identities()):
        raise EncodeError(
            f"the baseline's vectors in {vectors.path} come from another tower or preprocessing than "
            f"{encoder.model}; give its pictures instead"
        )
    return vectors


def begin_baseline(folder: Path, images: str) -> None:
    """From here on `folder` is for vectors of just these images, which `images` is a hash of."""
    note = folder / "made_from.json"
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    now = {"images": images}
    if before != now:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(note, now)


def published_baseline(name: str | None) -> VectorFolder | None:
    """The vectors that stand against published ones. Raises UsageError where the place has none."""
    if name is None:
        return None
    place = run_or_place(name)
    vectors = None if "://" in str(place) else _vectors_at([Path(place), RUNS / place])
    if vectors is None:
        raise UsageError(
            f"with --precomputed, --baseline must name a run or folder that has vectors; {name} has none"
        )
    return vectors


def _vectors_at(places: Iterable[Path]) -> VectorFolder | None:
    """The vectors of the first of these places that has some, itself or as a run."""
    folders = (folder for place in places for folder in (place, place / "vectors"))
    return next((read_vectors(folder) for folder in folders if is_vector_folder(folder)), None)
