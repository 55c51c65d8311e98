"""The tastes there are, as cards: runs, those that were saved, and the published ones."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from visunex.aesthetic_embeddings import EmbeddingError, catalogue, find, findable, load
from visunex.aesthetic_embeddings.finding import run_files
from visunex.base.errors import UsageError
from visunex.images.decode import open_rgb
from visunex.images.errors import ImageError
from visunex.pipeline.errors import parquet_errors
from visunex.pipeline.rundir import RunDir

from .places import Places

__all__ = ["Shelved", "bring", "curve", "sheet_of", "shelf", "shelved"]

Kind = Literal["run", "saved", "published"]
_COLUMNS, _ROWS, _SIDE, _GAP = 5, 3, 96, 4  # of a card's sheet; pixels
_POINTS = 64  # of a curve


@dataclass(frozen=True)
class Shelved:
    """A taste on the shelf: what it is called, what commands find it by, and what is said of it.

    `curve` are numbers from -1 to 1, a picture of its direction; none for one that is `not here` yet.
    `run` is the folder of one whose pictures can be shown.
    """

    title: str
    find: str
    kind: Kind
    about: str
    curve: tuple[float, ...] = ()
    run: Path | None = None
    model: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """Whether its file is on this machine."""
        return bool(self.curve)


def shelf(places: Places) -> list[Shelved]:
    """Every taste, runs first; files that are no embeddings are left out."""
    return [*_runs(), *_saved(places), *_published()]


def shelved(places: Places, name: str) -> Shelved:
    """The taste that commands find by `name`. Raises UsageError where the shelf has none."""
    for each in shelf(places):
        if each.find == name:
            return each
    raise UsageError(f"there is no taste {name!r} any more")


def bring(places: Places, name: str) -> Shelved:
    """The same, fetched from its publisher where it is not here. Raises EmbeddingError, UsageError."""
    if not shelved(places, name).here:
        find(name)
    return shelved(places, name)


def curve(vector: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """What a direction of D numbers looks like: means of neighbours, the largest of them 1 or -1."""
    values = vector.reshape(-1).astype(np.float64)
    means = np.array([each.mean() for each in np.array_split(values, min(_POINTS, values.size))])
    return tuple((means / max(float(np.abs(means).max()), 1e-30)).round(3).tolist())


def sheet_of(run: Path) -> bytes | None:
    """A sheet (WebP) of a run's first thumbnails, cut to squares; None where it has none that can be read."""
    small = [image for data in _thumbnails(run) if (image := _square(data)) is not None]
    if not small:
        return None
    rows = min(_ROWS, -(-len(small) // _COLUMNS))
    step = _SIDE + _GAP
    paper = Image.new("RGB", (_COLUMNS * step - _GAP, rows * step - _GAP), "white")
    for number, image in enumerate(small):
        paper.paste(image, (number % _COLUMNS * step, number // _COLUMNS * step))
    file = io.BytesIO()
    paper.save(file, "WEBP", quality=80)
    return file.getvalue()


def _thumbnails(run: Path) -> list[bytes]:
    import pyarrow.parquet as pq

    found = list[bytes]()
    for path in sorted(RunDir(run).thumbnails.glob("*.parquet")):
        with contextlib.suppress(*parquet_errors()):
            first = next(pq.ParquetFile(path).iter_batches(_COLUMNS * _ROWS, columns=["webp"]), None)
            found += [] if first is None else first["webp"].to_pylist()
        if len(found) >= _COLUMNS * _ROWS:
            break
    return found[: _COLUMNS * _ROWS]


def _square(data: bytes) -> Image.Image | None:
    try:
        return ImageOps.fit(open_rgb(data), (_SIDE, _SIDE))
    except ImageError:
        return None


def _runs() -> Iterator[Shelved]:
    for path in run_files():
        yield from _read(path, path.parent.name, path.parent.name, "run")


def _saved(places: Places) -> Iterator[Shelved]:
    for path in sorted(places.tastes.glob("*.pt")):
        yield from _read(path, path.stem, str(path), "saved")


def _read(path: Path, title: str, name: str, kind: Kind) -> Iterator[Shelved]:
    try:
        found = load(path)
    except EmbeddingError:
        return
    made = found.provenance or {}
    yield Shelved(
        title,
        name,
        kind,
        _about(made) or f"{found.dimension} numbers, and nothing that says how it was made",
        curve(found.vector),
        path.parent if kind == "run" and RunDir(path.parent).thumbnails.is_dir() else None,
        _model_of(made),
        made,
    )


def _published() -> Iterator[Shelved]:
    here = {
        each.path.stem: each for each in findable() if each.path is not None and each.path.suffix == ".pt"
    }
    for name, entry in catalogue().items():
        found = here.get(name)
        points = () if found is None else curve(found.vector)
        yield Shelved(name, name, "published", entry.description, points, None, "ViT-L-14")


def _about(made: Mapping[str, Any]) -> str:
    """What a provenance that anyone may have written says, in a few words."""
    parts = [_count(made), *_origin(made), _model_of(made), made.get("reduction")]
    return " · ".join(str(each) for each in parts if each)


def _count(made: Mapping[str, Any]) -> str:
    used = _mapping(made.get("images")).get("used")
    return f"{used:,} pictures" if isinstance(used, int) else ""


def _origin(made: Mapping[str, Any]) -> Iterator[str]:
    curated, votes = _mapping(made.get("curated")), _mapping(made.get("votes"))
    if curated:
        yield f"curated from {Path(str(curated.get('run'))).name}"
    if votes:
        yield f"from {votes.get('votes')} votes"
    parts = made.get("mixed_from")
    if isinstance(parts, list):
        yield "a mix of " + ", ".join(str(_mapping(each).get("name")) for each in parts)


def _model_of(made: Mapping[str, Any]) -> str | None:
    name = _mapping(made.get("model")).get("name")
    return str(name) if name else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
