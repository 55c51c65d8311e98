"""Image vectors as clip-retrieval lays them out: `img_emb/img_emb_N.npy`, `metadata/metadata_N.parquet`.

Ours hold normalised float32 vectors and their `norm`, so that raw = unit * norm. Others' are read too:
float16, raw or normalised, with or without metadata.
"""

import io
import json
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from visunex.base.files import atomic, sha256_file, write_bytes

from ..errors import EncodeError, parquet_errors
from ..shards.footer import opened_parquet
from ..shards.samples import Sample
from .npy import NPY_ERRORS, as_float32, have_direction
from .pairs import without_partner
from .threads import in_threads

__all__ = [
    "Batches",
    "Part",
    "VectorFolder",
    "is_vector_folder",
    "part_numbers",
    "part_paths",
    "provenance_if_whole",
    "provenance_in",
    "read_provenance",
    "read_vectors",
    "remove_parts_but",
    "write_part",
]

R = TypeVar("R")

BATCH = 512  # vectors that are in memory at a time in float64
_PROVENANCE = b"visunex"  # the key of ours in a parquet schema's metadata
_DIGEST = "sha256"  # of the array, which the first release did not note
_UNIT_TOLERANCE = 5e-3  # float16 vectors are of norm 1 to about 1e-3
_ROUNDING = 1e-6  # and normalised float32 ones to about 1e-7


@dataclass(frozen=True)
class Part:
    """One pair of files of a folder; `metadata` None where a peer wrote none.

    Rows `without_direction`, zero or not finite, are left out wherever vectors are read, and so are those
    that were `not_chosen`.
    """

    vectors: Path
    metadata: Path | None
    without_direction: tuple[int, ...] = ()
    not_chosen: tuple[int, ...] = ()

    @property
    def skipped(self) -> tuple[int, ...]:
        """The rows that are left out."""
        return self.without_direction + self.not_chosen

    @property
    def rows(self) -> int:
        """The number of rows of its array."""
        return len(_mapped(self))


@dataclass(frozen=True)
class VectorFolder:
    """All parts of a folder, in the order of their numbers; `given_scores` stand in for their metadata's."""

    path: Path
    parts: tuple[Part, ...]
    given_scores: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """The number of vectors."""
        return sum(part.rows - len(part.skipped) for part in self.parts)

    @property
    def dimension(self) -> int:
        """How long its vectors are."""
        return int(_mapped(self.parts[0]).shape[1])

    @property
    def dropped(self) -> list[str]:
        """The names of the rows that are left out: they are zero or not finite."""
        return [f"{part.vectors} row {row}" for part in self.parts for row in part.without_direction]

    def units(self) -> "Batches":
        """Normalised vectors, to be iterated any number of times in float32 batches [n, D]."""
        return Batches(self, raw=False)

    def raw(self) -> "Batches":
        """Vectors as the encoder gave them; iterating raises EncodeError where only unit ones were kept."""
        return Batches(self, raw=True)

    def scores(self) -> NDArray[np.float64]:
        """The score of every vector, float64, NaN where there is none."""
        return self._column("score") if self.given_scores is None else self.given_scores

    def norms(self) -> NDArray[np.float64]:
        """The length that every vector had when the encoder gave it, float64, NaN where nothing says so."""
        return self._column("norm")

    def _column(self, name: str) -> NDArray[np.float64]:
        parts = [_kept(part, _column(part, name, len(_mapped(part)))) for part in self.parts]
        return np.concatenate(parts) if parts else np.zeros(0)

    def identities(self) -> list[dict[str, Any]]:
        """What made the parts, where they say so: one entry for each different encoder and preprocessing."""
        made = [each for part in self.parts if (each := read_provenance(part)) is not None]
        found = [each["identity"] for each in made if "identity" in each]
        return list({json.dumps(each, sort_keys=True): each for each in found}.values())


@dataclass(frozen=True)
class Batches:
    """The vectors of a folder, memory-mapped, in batches; iterate as often as needed."""

    folder: VectorFolder
    raw: bool

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return map(self._as_wanted, self._batches())

    def each(self, work: Callable[[NDArray[np.float32]], R]) -> Iterator[R]:
        """What `work` gives for each batch, in order; threads work on several at once."""
        return in_threads(lambda batch: work(self._as_wanted(batch)), self._batches())

    def _batches(self) -> Iterator[tuple[Part, NDArray[Any], NDArray[Any]]]:
        """Rows as they lie in a part's array, with their norms [n, 1]."""
        for part in self.folder.parts:
            vectors = _mapped(part)
            norms = _column(part, "norm", len(vectors))
            kept = _kept(part, np.arange(len(vectors)))
            for begin in range(0, len(kept), BATCH):
                block = kept[begin : begin + BATCH] if part.skipped else slice(begin, begin + BATCH)
                yield part, vectors[block], norms[block, None]

    def _as_wanted(self, batch: tuple[Part, NDArray[Any], NDArray[Any]]) -> NDArray[np.float32]:
        part, stored, norms = batch
        rows = as_float32(stored)
        if np.isfinite(norms).all():
            return (rows * norms).astype(np.float32) if self.raw else rows
        if not self.raw and np.all(np.abs(np.sqrt(np.einsum("ij,ij->i", rows, rows)) - 1) < _UNIT_TOLERANCE):
            return rows
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        normalised = bool(np.all(np.abs(lengths - 1) < _UNIT_TOLERANCE))
        if self.raw and normalised:
            raise EncodeError(
                f"{part.vectors} holds normalised vectors and nothing says how long they were, so `mean` "
                "(of raw vectors) cannot be made of them; use --reduce unit-mean, or encode again"
            )
        return rows if self.raw or normalised else (rows / np.maximum(lengths, 1e-30)).astype(np.float32)


def is_vector_folder(path: Path) -> bool:
    """Whether a folder holds vectors in clip-retrieval's layout."""
    return (path / "img_emb").is_dir()


def read_vectors(path: Path) -> VectorFolder:
    """The vectors of a folder in clip-retrieval's layout, ours or a peer's.

    A vector that is zero or not finite is left out. Raises EncodeError, naming the file, for a broken array,
    a part without its partner, rows that do not match, or differing dimensions.
    """
    arrays = _numbered(path / "img_emb", "img_emb", "npy")
    tables = _numbered(path / "metadata", "metadata", "parquet")
    if not arrays:
        raise EncodeError(
            f"{path} holds no img_emb/img_emb_N.npy; give a folder that `encode` or clip-retrieval made"
        )
    for number in sorted(arrays.keys() ^ tables.keys() if tables else ()):
        folder_of = "metadata" if number in arrays else "img_emb"
        missing = f"{folder_of}/{folder_of}_{number}"
        raise without_partner(str(arrays.get(number) or tables[number]), missing)
    folder = VectorFolder(path, tuple(Part(arrays[number], tables.get(number)) for number in sorted(arrays)))
    _check(folder)
    folder = replace(folder, parts=tuple(map(_judged, folder.parts)))
    if not len(folder) and (bad := folder.dropped):
        raise EncodeError(f"every vector in {path} is zero or not finite ({bad[0]}); it is broken")
    return folder


def part_numbers(folder: Path) -> list[int]:
    """The numbers of a folder's parts, in order; clip-retrieval too leaves some out."""
    return sorted(_numbered(folder / "img_emb", "img_emb", "npy"))


def part_paths(folder: Path, number: int) -> Part:
    """Where part `number` of a folder of ours lies."""
    name = f"{number:04d}"
    return Part(folder / "img_emb" / f"img_emb_{name}.npy", folder / "metadata" / f"metadata_{name}.parquet")


def write_part(
    part: Part,
    raw: NDArray[np.float32],
    samples: Sequence[Sample],
    provenance: Mapping[str, Any],
    norms: NDArray[np.float64] | None = None,
) -> None:
    """Write raw vectors float32 [n, D] normalised, then their samples and `provenance`: the part is done.

    `provenance` says how the part was made, in JSON-able values.

    `norms` [n] are given where vectors are normalised already: their raw lengths, NaN where unknown. The same
    input gives the same bytes, and so do vectors read back from a part of ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    units, lengths = _normalised(raw)
    norms = lengths if norms is None else norms
    data = io.BytesIO()  # what fails in numpy's own writing does not say why
    np.save(data, units, allow_pickle=False)
    write_bytes(part.vectors, data.getvalue())
    provenance = {**provenance, _DIGEST: sha256_file(part.vectors)}
    text = {name: [getattr(each, name) for each in samples] for name in ("key", "caption", "url")}
    columns = {
        "image_path": pa.array([each.where for each in samples], pa.string()),
        **{name: pa.array(values, pa.string()) for name, values in text.items()},
        "score": pa.array([each.score for each in samples], pa.float64()),
        "norm": pa.array(norms.astype(np.float32)),
    }
    table = pa.table(columns).replace_schema_metadata({_PROVENANCE: json.dumps(provenance, sort_keys=True)})
    assert part.metadata is not None  # noqa: S101 - parts of ours have metadata
    with atomic(part.metadata) as temporary:
        pq.write_table(table, temporary)


def _normalised(raw: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Unit vectors [n, D] and their raw lengths [n]; block by block, as the float64 between takes memory."""
    units, lengths = np.empty_like(raw), np.empty(len(raw))
    for begin in range(0, len(raw), BATCH):
        rows = slice(begin, begin + BATCH)
        wide = raw[rows].astype(np.float64)
        lengths[rows] = np.linalg.norm(wide, axis=1)
        lengths[rows][np.abs(lengths[rows] - 1) < _ROUNDING] = 1
        units[rows] = wide / lengths[rows, None]
    return units, lengths


def read_provenance(part: Part) -> dict[str, Any] | None:
    """How a finished part of ours was made; None where the part is absent, broken or a peer's."""
    if part.metadata is None or not part.vectors.exists():
        return None
    try:
        return provenance_in(opened_parquet(part.metadata).schema_arrow.metadata)
    except parquet_errors():
        return None


def provenance_if_whole(part: Part) -> dict[str, Any] | None:
    """How a finished part of ours was made; None also where its vectors are not those that were written."""
    made = read_provenance(part)
    digest = None if made is None else made.get(_DIGEST)
    return made if digest is None or digest == sha256_file(part.vectors) else None


def provenance_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any] | None:
    """How a part was made, from its parquet schema's metadata; None where a peer wrote it."""
    try:
        made = json.loads((metadata or {})[_PROVENANCE])
    except (KeyError, ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None


def remove_parts_but(folder: Path, numbers: Container[int]) -> None:
    """Remove all parts but those of these numbers: left over from when there were other images."""
    for name, suffix in (("img_emb", "npy"), ("metadata", "parquet")):
        for index, path in _numbered(folder / name, name, suffix).items():
            if index not in numbers:
                path.unlink()


def _numbered(folder: Path, name: str, suffix: str) -> dict[int, Path]:
    pattern = re.compile(rf"{name}_(\d+)\.{suffix}")
    found = {path: pattern.fullmatch(path.name) for path in folder.glob(f"{name}_*.{suffix}")}
    return {int(match[1]): path for path, match in found.items() if match}


def _check(folder: VectorFolder) -> None:
    first = folder.parts[0]
    for part in folder.parts:
        vectors = _mapped(part)
        if vectors.shape[1] != _mapped(first).shape[1]:
            raise EncodeError(
                f"{part.vectors} has vectors of {vectors.shape[1]} dimensions, {first.vectors} of "
                f"{_mapped(first).shape[1]}: they come from different towers"
            )
        _column(part, "norm", len(vectors))


def _judged(part: Part) -> Part:
    """The part with its rows that have no direction."""
    vectors = _mapped(part)
    blocks = (vectors[begin : begin + BATCH] for begin in range(0, len(vectors), BATCH))
    sound = [np.ones(0, np.bool_), *in_threads(lambda block: have_direction(as_float32(block)), blocks)]
    return replace(part, without_direction=tuple(np.flatnonzero(~np.concatenate(sound)).tolist()))


def _kept(part: Part, values: NDArray[Any]) -> NDArray[Any]:
    """Of a value for each row those of the rows that are not left out."""
    return np.delete(values, list(part.skipped)) if part.skipped else values


def _mapped(part: Part) -> NDArray[Any]:
    try:
        with np.errstate(over="raise"):  # a header may say any size
            vectors = np.load(part.vectors, mmap_mode="r", allow_pickle=False)
    except NPY_ERRORS as error:
        raise EncodeError(f"{part.vectors} is no array of vectors ({error}); make it again") from None
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise EncodeError(
            f"{part.vectors} holds {vectors.dtype} of shape {vectors.shape}, not vectors [n, D] of floats"
        )
    return vectors


def _column(part: Part, name: str, rows: int) -> NDArray[np.float64]:
    """A column of numbers as float64, NaN where there are none."""
    import pyarrow as pa

    if part.metadata is None:
        return np.full(rows, np.nan)
    try:
        file = opened_parquet(part.metadata)
        if file.metadata.num_rows != rows:
            raise EncodeError(
                f"{part.metadata} has {file.metadata.num_rows} rows for the {rows} vectors of {part.vectors}"
            )
        if name not in file.schema_arrow.names:
            return np.full(rows, np.nan)
        values = file.read(columns=[name]).column(0).cast(pa.float64())
        return values.to_numpy(zero_copy_only=False).astype(np.float64)
    except parquet_errors() as error:
        raise EncodeError(f"{part.metadata} cannot be read ({error}); make it again") from None
