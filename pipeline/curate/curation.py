"""A run's embedding made anew without some of its pictures, from the vectors that lie on the disk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import Embedding, load, save
from visunex.aesthetic_embeddings.artefact import require_replaceable
from visunex.aesthetic_embeddings.reduction import BY_SCORES
from visunex.base.errors import UsageError
from visunex.base.suggest import did_you_mean

from ..encode.baseline import published_baseline
from ..errors import EncodeError, parquet_errors
from ..reduce.checks import Checks, mean_norm, norm_of
from ..reduce.embedding import library_versions, reduce_folder
from ..reduce.groups import FEW, read_groups
from ..rundir import RunDir, run_named
from ..score.choice import chosen_images
from ..score.rows import rows_of
from ..vectors.store import VectorFolder, is_vector_folder, read_vectors
from ..vectors.subset import only

if TYPE_CHECKING:
    from visunex.recipes.schema import Reduction

__all__ = ["Curated", "Dropping", "Opened", "curate", "groups_of", "kept_of", "opened", "reduced"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Dropping:
    """Which pictures are dropped: by key, by group, all but some groups, and a share of the least typical."""

    keys: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    all_but_groups: tuple[int, ...] = ()
    atypical: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.keys or self.groups or self.all_but_groups or self.atypical)


@dataclass(frozen=True)
class Curated:
    """One embedding, of the pictures that were `kept` (of one `group`); `cosine` is to the run's own."""

    embedding: str
    kept: int
    dropped: int
    dimension: int
    reduction: str
    norm: float
    cosine: float
    group: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """For a person."""
        which = "" if self.group is None else f" of group {self.group}"
        return (
            f"{self.embedding}: 1x{self.dimension}, {self.reduction}, norm {self.norm:.4g}\n"
            f"  {self.kept:,} pictures{which}, {self.dropped:,} dropped; cosine {self.cosine:.4f} to the "
            "run's own"
        )


@dataclass(frozen=True, eq=False)
class Opened:
    """A run's embedding, and the vectors it is of: their keys and the mask of those that count."""

    run: RunDir
    embedding: Embedding
    made: Mapping[str, Any]
    vectors: VectorFolder
    keys: NDArray[np.object_]
    counted: Mask


def curate(
    what: str, dropping: Dropping, out: Path, *, split: bool = False, overwrite: bool = False
) -> list[Curated]:
    """Reduce a run's vectors, but those of `dropping`, as the run did; written to `out`, never into the run.

    With `split` each group's vectors are reduced by themselves, to `NAME-0.pt`, `NAME-1.pt` and so on. Raises
    UsageError (no run with pictures' vectors, no such key or group, nothing left), EncodeError,
    EmbeddingError.
    """
    if not 0 <= dropping.atypical < 1:
        raise UsageError(f"{dropping.atypical} is no share of pictures: give 0 to below 1, such as 0.1")
    if not dropping and not split:
        raise UsageError(
            "say what to drop: --drop KEY, --drop-group N, --keep-group N or --drop-atypical 0.1"
        )
    if out.suffix.lower() != ".pt":
        raise UsageError(f"--out {out}: an embedding's file is called NAME.pt")
    found = opened(what)
    if out.resolve().is_relative_to(found.run.path.resolve()):
        raise UsageError(f"--out {out} lies in the run, which stays as it is: name another place")
    groups = groups_of(found) if split or dropping.groups or dropping.all_but_groups else None
    kept = kept_of(found, dropping, groups)
    if groups is None or not split:
        return [_written(found, kept, dropping, out, overwrite=overwrite)]
    return [
        _written(
            found,
            kept & (groups == each),
            dropping,
            out.with_name(f"{out.stem}-{each}{out.suffix}"),
            overwrite=overwrite,
            group=int(each),
        )
        for each in np.unique(groups[kept])
    ]


def opened(what: str) -> Opened:
    """A run, by its folder or name, to be curated. Raises UsageError, EncodeError, EmbeddingError."""
    run = run_named(what)
    if run is None:
        raise UsageError(f"{what} is no run: name its folder, or what it is called under runs/")
    if not run.embedding.exists() or not is_vector_folder(run.vectors):
        raise UsageError(
            f"{run.path} has no vectors of pictures to make an embedding of; `visunex-data encode --run "
            f"{run.path}` makes them"
        )
    embedding, vectors = load(run.embedding), read_vectors(run.vectors)
    made = embedding.provenance
    if made is None:
        raise EncodeError(f"{run.provenance} does not belong to {run.embedding}: encode {run.path} again")
    if not isinstance(made.get("reduction"), str):
        raise EncodeError(f"{run.provenance} does not say how vectors were reduced: encode {run.path} again")
    rows = rows_of(vectors)
    if "key" not in rows.column_names:
        raise EncodeError(f"{run.vectors} does not say which picture a vector is of: encode {run.path} again")
    keys = np.array(rows["key"].to_pylist(), object)
    paths = rows["image_path"].to_pylist() if "image_path" in rows.column_names else [None] * len(keys)
    chosen = chosen_images(run.choice)
    counted = np.array([chosen is None or path in chosen for path in paths], bool)
    return Opened(run, embedding, made, vectors, keys, counted)


def _table(path: Path, columns: list[str]) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns)
    except parquet_errors() as error:
        raise EncodeError(f"{path} cannot be read: {error}") from None


def groups_of(found: Opened) -> NDArray[np.int64]:
    """The group of each vector int64 [n], -1 where it is in none. Raises UsageError where there are none."""
    if not found.run.groups.exists() and found.counted.sum() <= FEW:
        raise UsageError(
            f"{found.run.path} has no groups: they are looked for among more than {FEW} pictures"
        )
    if not found.run.groups.exists():
        raise UsageError(
            f"{found.run.path} has no groups yet: `visunex-data show {found.run.path}` finds them, and makes "
            "the page"
        )
    by_key = read_groups(found.run.groups)
    return np.array([by_key.get(key, -1) for key in found.keys], np.int64)


def kept_of(found: Opened, dropping: Dropping, groups: NDArray[np.int64] | None) -> Mask:
    """Which vectors stay, bool [n]. Raises UsageError: no such key or group, or nothing is left."""
    kept = found.counted & ~_named(found, dropping.keys)
    if groups is not None:
        _require_groups(groups, (*dropping.groups, *dropping.all_but_groups))
        kept &= ~np.isin(groups, dropping.groups)
        if dropping.all_but_groups:
            kept &= np.isin(groups, dropping.all_but_groups)
    if kept.any() and dropping.atypical:
        kept &= ~_atypical(found, kept, dropping.atypical)
    if not kept.any():
        raise UsageError("nothing is left: drop less")
    return kept


def _named(found: Opened, keys: tuple[str, ...]) -> Mask:
    there = set(found.keys[found.counted])
    for key in keys:
        if key not in there:
            near = did_you_mean(key, map(str, there))
            raise UsageError(f"{found.run.path} has no picture {key!r}: {near}report.html names them")
    return np.isin(found.keys, keys)


def _require_groups(groups: NDArray[np.int64], wanted: tuple[int, ...]) -> None:
    there = sorted({*groups.tolist()} - {-1})
    for each in wanted:
        if each not in there:
            raise UsageError(f"there is no group {each}: there are {', '.join(map(str, there))}")


def _atypical(found: Opened, kept: Mask, share: float) -> Mask:
    """The vectors among those kept, this share of them, that are least like what these make together."""
    vector = reduced(found, kept).reshape(-1).astype(np.float64)
    batches = only(found.vectors, kept).units()
    cosines = np.concatenate([units.astype(np.float64) @ vector for units in batches])
    places = np.flatnonzero(kept)[np.argsort(cosines, kind="stable")[: int(share * len(cosines))]]
    mask = np.zeros(len(kept), bool)
    mask[places] = True
    return mask


def reduced(found: Opened, kept: Mask) -> NDArray[np.float32]:
    """The embedding float32 [1, D] of the vectors that are kept, as the run's own was made of all."""
    how: Reduction = found.made["reduction"]
    return reduce_folder(only(_scored(found, how), kept), how, _baseline(found))


def _scored(found: Opened, how: "Reduction") -> VectorFolder:
    """The vectors, with the scores that the choice after encode gave them where these are weights."""
    from dataclasses import replace

    from visunex.recipes import load as load_recipe

    if how not in BY_SCORES or not found.run.choice.exists():
        return found.vectors
    by = load_recipe(found.run.recipe).filter.score_with
    if by is None:
        return found.vectors
    scores = np.array(_table(found.run.choice, [by])[by].to_pylist(), np.float64)
    return replace(found.vectors, given_scores=scores)


def _baseline(found: Opened) -> VectorFolder | None:
    """What a contrast stands against."""
    name = found.made.get("baseline")
    if name is None:
        return None
    own = found.run.vectors / "baseline"  # made of pictures that the run was given
    return read_vectors(own) if is_vector_folder(own) else published_baseline(str(name))


def _written(
    found: Opened, kept: Mask, dropping: Dropping, out: Path, *, overwrite: bool, group: int | None = None
) -> Curated:
    require_replaceable(out, overwrite=overwrite)
    vector = reduced(found, kept)
    gone = found.counted & ~kept
    images = found.made.get("images")
    made = {name: value for name, value in found.made.items() if name != "sha256"}
    made |= {
        "images": {**(images if isinstance(images, dict) else {}), "used": int(kept.sum())},
        "checks": Checks(norm_of(vector), None, None, mean_norm(found.vectors.norms()[kept])).as_dict(),
        "libraries": library_versions(),
        "curated": {
            "run": str(found.run.path),
            "embedding": found.made.get("sha256"),
            "dropped_by": asdict(dropping),
            "group": group,
            "dropped": int(gone.sum()),
            "dropped_keys": [str(key) for key in found.keys[gone]],
        },
    }
    saved = save(out, vector, made)
    cosine = float((saved.unit @ found.embedding.unit.T).item())
    facts = saved.dimension, found.made["reduction"], saved.norm, cosine, group
    return Curated(str(out), int(kept.sum()), int(gone.sum()), *facts)
