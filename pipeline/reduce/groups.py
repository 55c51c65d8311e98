"""Vectors -> groups of those that lie together (spherical k-means): is this one taste, or three?

Dhillon & Modha, "Concept decompositions for large sparse text data using clustering", Machine Learning 42,
2001; begun as k-means++ (Arthur & Vassilvitskii, 2007). The same vectors give the same groups.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings.groups import as_metadata
from visunex.base.files import atomic

from ..errors import EncodeError, parquet_errors

if TYPE_CHECKING:
    from ..vectors.store import VectorFolder

__all__ = [
    "FEW",
    "MOST_GROUPS",
    "Groups",
    "group",
    "group_vectors",
    "read_groups",
    "separation",
    "write_groups",
]

MOST_GROUPS = 6
FEW = 36  # pictures of which all are seen at once: nothing is grouped among them
SAMPLE = 20_000  # vectors from which centres are learned; the rest go to the nearest
_STEPS, _STARTS, _SEED = 50, 4, 0
_LEAST = 3  # vectors for each group that is looked for

Rows = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """The group of each vector int64 [n], largest first, and the unit centres float32 [k, D].

    `separation` is the mean simplified silhouette, from 0 (they run into one another) to 1: of each vector
    how much nearer its own centre is than the next one. A single group has none.
    """

    of: Numbers
    centres: Rows
    separation: float | None


def group(units: Rows, count: int | None = None) -> Groups:
    """Unit vectors float32 [n, D] in `count` groups; None: in 2 to MOST_GROUPS, as are told apart best."""
    if not len(units):
        return Groups(np.zeros(0, np.int64), units[:0], None)
    learned = np.ascontiguousarray(units[:: _step(len(units))])
    return _assigned([units], learned, _centres(learned, count))


def group_vectors(vectors: "VectorFolder", count: int | None = None) -> Groups | None:
    """The groups of a folder's vectors, of which SAMPLE are held at a time.

    `count` of them; None: as `group` finds them, and none at all of FEW vectors and fewer.
    """
    total = len(vectors)
    if total <= FEW and count is None:
        return None
    step, begin, rows = _step(total), 0, list[Rows]()
    for batch in vectors.units():
        rows.append(batch[-begin % step :: step])
        begin += len(batch)
    learned = np.concatenate(rows)
    return _assigned(vectors.units(), learned, _centres(learned, count))


def _step(total: int) -> int:
    """Centres are learned from each so-manieth vector."""
    return -(-total // SAMPLE)


def _centres(learned: Rows, count: int | None) -> Rows:
    """The centres [k, D] that tell the vectors apart best."""
    most = min(MOST_GROUPS, len(learned) // _LEAST)
    wanted = [min(count, len(learned))] if count is not None else list(range(2, most + 1)) or [1]
    tried = [_best_of_starts(learned, each) for each in wanted]
    return max(tried, key=lambda found: separation(learned, found) or 0.0)


def _assigned(batches: Iterable[Rows], learned: Rows, centres: Rows) -> Groups:
    """All vectors by the centre that is nearest to each; those of none are left out."""
    nearest = np.concatenate([np.argmax(batch @ centres.T, axis=1) for batch in batches])
    sizes = np.bincount(nearest, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    place = np.zeros(len(centres), np.int64)
    place[order] = np.arange(len(order))
    return Groups(place[nearest], centres[order], separation(learned, centres[order]))


def write_groups(path: Path, keys: Sequence[str], groups: Groups) -> None:
    """Write the group of each picture as a parquet file: `key`, `group`; the centres are its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"key": pa.array(keys, pa.string()), "group": pa.array(groups.of, pa.int64())})
    table = table.replace_schema_metadata(dict(as_metadata(groups.centres)))
    with atomic(path) as temporary:
        pq.write_table(table, temporary)


def read_groups(path: Path) -> dict[str, int]:
    """The group of each picture, by key. Raises EncodeError for a file that cannot be read."""
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(["key", "group"])
        return dict(zip(table["key"].to_pylist(), map(int, table["group"].to_pylist()), strict=True))
    except parquet_errors(TypeError, ValueError, KeyError) as error:
        raise EncodeError(f"{path} cannot be read: {error}") from None


def _best_of_starts(units: Rows, count: int) -> Rows:
    """The centres [count, D] to which the vectors lie nearest, of several beginnings."""
    tried = [_kmeans(units, _seeds(units, count, np.random.default_rng([_SEED, n]))) for n in range(_STARTS)]
    return max(tried, key=lambda centres: float((units @ centres.T).max(axis=1).sum(dtype=np.float64)))


def _seeds(units: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Vectors that lie far from one another: each drawn by its distance (1 - cosine) to those before."""
    chosen = [int(rng.integers(len(units)))]
    far = np.ones(len(units))
    for _ in range(count - 1):
        far = np.minimum(far, np.maximum(0.0, 1.0 - units @ units[chosen[-1]]))
        total = far.sum()
        odds = far / total if total > 0 else None
        chosen.append(int(rng.choice(len(units), p=odds)))
    return units[chosen]


def _kmeans(units: Rows, centres: Rows) -> Rows:
    """Lloyd's steps: each vector to the nearest centre, each centre to the direction of its vectors' sum."""
    before = None
    for _ in range(_STEPS):
        nearest = np.argmax(units @ centres.T, axis=1)
        if before is not None and np.array_equal(nearest, before):
            break
        sums = np.stack(
            [units[nearest == each].sum(axis=0, dtype=np.float64) for each in range(len(centres))]
        )
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-30), centres).astype(np.float32)
        before = nearest
    return centres


def separation(units: Rows, centres: Rows) -> float | None:
    """The mean simplified silhouette (Hruschka et al., 2004), of distances 1 - cosine to the centres."""
    if len(centres) < 2:
        return None
    far = np.sort(np.maximum(0.0, 1.0 - (units @ centres.T).astype(np.float64)), axis=1)
    return float(np.mean((far[:, 1] - far[:, 0]) / np.maximum(far[:, 1], 1e-12)))
