"""Published vectors in place of pictures: fetched once, checked by SHA-256, reduced to an embedding."""

import functools
import hashlib
import io
import os
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import EmbeddingError, get_bytes, is_url, mirror_given, reduce
from visunex.base.errors import UsageError
from visunex.base.files import fingerprint, write_bytes

from ..errors import EncodeError
from ..reduce.embedding import Checks, EmbeddingReport, ReferenceCheck, check_reference, library_versions, put
from ..rundir import RunDir

if TYPE_CHECKING:
    from visunex.recipes import Recipe

__all__ = ["PublishedVectors", "VectorsReport", "catalogue", "read_published", "reduce_published"]

LARGEST = 64 << 20


@dataclass(frozen=True)
class PublishedVectors:
    """A file of vectors known by name, `FOLDER/FILE` without its suffix."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class VectorsReport(EmbeddingReport):
    """What was made of published vectors, without any picture."""

    vectors: tuple[str, ...]
    baseline: tuple[str, ...]

    def as_text(self) -> str:
        """The report for a person."""
        against = f" minus {', '.join(self.baseline)}" if self.baseline else ""
        return "\n".join([f"published vectors: {', '.join(self.vectors)}{against}", *self.outcome()])


@functools.cache
def catalogue() -> dict[str, PublishedVectors]:
    """The published vectors by name."""
    folders = tomllib.loads((Path(__file__).parent / "published.toml").read_text(encoding="utf-8"))
    return {
        f"{folder}/{file}": PublishedVectors(f"{folder}/{file}", f"{entry['base']}/{file}.npy", digest)
        for folder, entry in folders.items()
        for file, digest in entry["sha256"].items()
    }


def read_published(name: str) -> NDArray[np.float32]:
    """The vectors [n, D] of a published name or of a `.npy` file.

    A name is fetched once, from `$VISUNEX_MIRROR` (a folder or address that holds `NAME.npy`) or where it was
    published, and checked by its SHA-256. Raises EncodeError, UsageError.
    """
    entry = catalogue().get(name)
    if entry is not None:
        return _array(_fetched(entry), name)
    if not name.endswith(".npy"):
        raise UsageError(f"there are no published vectors {name!r}: {', '.join(catalogue())}, or a .npy file")
    try:
        with Path(name).open("rb") as file:
            return _array(file.read(LARGEST + 1), name)
    except OSError as error:
        raise EncodeError(f"{name} cannot be read: {error.strerror}") from None


def _array(data: bytes, name: str) -> NDArray[np.float32]:
    if len(data) > LARGEST:
        raise EncodeError(f"{name} is larger than {LARGEST >> 20} MB; give its folder with --precomputed")
    try:
        vectors = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EncodeError(f"{name} is no array of vectors: {str(error).splitlines()[0]}") from None
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim not in (1, 2):
        raise EncodeError(f"{name} is no array of vectors [n, D] of floats")
    rows = np.atleast_2d(vectors).astype(np.float32)
    if not rows.size or not np.isfinite(rows).all():
        raise EncodeError(f"{name} holds no vectors, or some that are not finite")
    return rows


def _fetched(entry: PublishedVectors) -> bytes:
    cached = _cache() / f"{entry.name}.npy"
    if (data := _bytes(cached)) is not None and _digest(data) == entry.sha256:
        return data
    data, place = _brought(entry)
    if _digest(data) != entry.sha256:
        raise EncodeError(
            f"{place} is not the published {entry.name}: its SHA-256 is {_digest(data)[:12]}..."
        )
    write_bytes(cached, data)
    return data


def _brought(entry: PublishedVectors) -> tuple[bytes, str]:
    mirror = mirror_given(None)
    try:
        if not mirror:
            return get_bytes(entry.url), entry.url
        if is_url(mirror):
            url = f"{mirror.rstrip('/')}/{entry.name}.npy"
            return get_bytes(url), url
    except EmbeddingError as error:
        raise EncodeError(str(error)) from None
    paths = (Path(mirror) / f"{entry.name}.npy", Path(mirror) / f"{Path(entry.name).name}.npy")
    for path in paths:
        if (data := _bytes(path)) is not None:
            return data, str(path)
    raise EncodeError(f"the mirror {mirror} has no {entry.name}.npy and no {paths[1].name}")


def _bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError:
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "visunex" / "vectors"


def reduce_published(
    run: RunDir | None, recipe: "Recipe", *, out: Path | None = None, overwrite: bool = False
) -> VectorsReport:
    """Reduce the recipe's published vectors to one embedding, in the run (whose lock is held) and at `out`.

    Raises EncodeError, EmbeddingError, StaleRunError, UsageError; EncodeError also when the result differs
    from the recipe's reference by more than its tolerance.
    """
    started = time.monotonic()
    settings = recipe.encode
    if run is None and out is None:
        raise UsageError("there is nowhere to put the embedding; name a file with --out, or a run with --run")
    wanted = [read_published(name) for name in settings.vectors]
    baseline = [read_published(name) for name in settings.baseline_vectors]
    _same_dimension([*wanted, *baseline], [*settings.vectors, *settings.baseline_vectors])
    if run is not None:
        made_from = {"vectors": _stamps(settings.vectors, wanted)}
        made_from["baseline"] = _stamps(settings.baseline_vectors, baseline)
        run.begin("encode", made_from, overwrite=overwrite)
    vector = reduce(wanted, settings.reduce, baseline=baseline or None)
    checks = _checks(vector, recipe)
    report = VectorsReport(
        vectors=settings.vectors,
        baseline=settings.baseline_vectors,
        dimension=vector.shape[1],
        reduction=settings.reduce,
        checks=checks,
        embedding=put(vector, _provenance(recipe, checks, wanted, baseline), run, out),
        seconds=round(time.monotonic() - started, 3),
    )
    return report.recorded(run)


def _checks(vector: NDArray[np.float32], recipe: "Recipe") -> Checks:
    reference: ReferenceCheck | None = None
    if recipe.reference is not None:
        reference = check_reference(vector, recipe.reference)
    return Checks(float(np.linalg.norm(vector.astype(np.float64))), None, reference)


def _same_dimension(arrays: Sequence[NDArray[np.float32]], names: Sequence[str]) -> None:
    for array, name in zip(arrays, names, strict=True):
        if array.shape[1] != arrays[0].shape[1]:
            raise EncodeError(
                f"{name} has vectors of {array.shape[1]} dimensions, {names[0]} of {arrays[0].shape[1]}: "
                "they come from different towers"
            )


def _stamps(names: Sequence[str], arrays: Sequence[NDArray[np.float32]]) -> list[list[str]]:
    return [[name, _digest(array.tobytes())] for name, array in zip(names, arrays, strict=True)]


def _provenance(
    recipe: "Recipe",
    checks: Checks,
    wanted: Sequence[NDArray[np.float32]],
    baseline: Sequence[NDArray[np.float32]],
) -> dict[str, Any]:
    settings = recipe.encode
    return {
        "recipe": recipe.name,
        "recipe_hash": fingerprint(recipe.model_dump(mode="json")),
        "vectors": _stamps(settings.vectors, wanted),
        "baseline_vectors": _stamps(settings.baseline_vectors, baseline),
        "model": {"name": settings.model, "pretrained": settings.pretrained},
        "reduction": settings.reduce,
        "checks": asdict(checks),
        "libraries": library_versions(),
    }
