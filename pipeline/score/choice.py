"""The choice after encode: which of the encoded images count, by what their own vectors tell.

Scores by a predictor, what is unsafe, and near copies are told before anything is fetched where vectors are
published; where none are, more images are fetched than are wanted, and chosen here. Of the chosen some may be
held out, to measure by them later what was made of the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.files import atomic, fingerprint

from ..errors import EncodeError, parquet_errors
from ..vectors.near_copies import KEPT, NOT_REACHED, near_copies
from ..vectors.store import VectorFolder
from ..vectors.subset import only
from .catalog import Predictor, predictors
from .folder import score_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from visunex.recipes.schema import Filter

__all__ = ["Choice", "choose", "chosen_images", "images_of_status", "statuses_in_words"]

_UNSAFE = "nsfw"  # the predictor behind `max_unsafe`
_MOST_COMPARED = 1 << 18  # vectors held at once: 0.8 GB of 768 numbers
CHOSEN, SPARE, COPY, HELD_OUT = "chosen", "spare", "near_copy", "held_out"

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen vectors; a table of all images with what was found of each; how many are of each status.

    A status is `chosen`, `spare` (beyond the number wanted), `near_copy` (`copy_of` names the better one),
    `held_out`, or the recipe's key that an image does not meet.
    """

    vectors: VectorFolder
    table: "pa.Table"
    counts: dict[str, int]

    def write(self, path: Path) -> None:
        """Write the table as a parquet file."""
        import pyarrow.parquet as pq

        with atomic(path) as temporary:
            pq.write_table(self.table, temporary)

    def of(self, others: VectorFolder) -> VectorFolder:
        """The chosen images' vectors among those that another encoder made of the same images."""
        from .rows import rows_of

        scores = dict(zip(self._chosen_names(), self.vectors.scores().tolist(), strict=True))
        names = rows_of(others)["image_path"].to_pylist()
        kept = only(others, np.array([name in scores for name in names], np.bool_))
        given = np.array([scores[name] for name in names if name in scores])
        return replace(kept, given_scores=given)

    def _chosen_names(self) -> list[str]:
        import pyarrow.compute as pc

        chosen = self.table.filter(pc.equal(self.table["status"], CHOSEN))
        return [str(name) for name in chosen["image_path"].to_pylist()]

    @property
    def held_out(self) -> list[str]:
        """The keys of the images that were left out of the embedding to measure by."""
        import pyarrow.compute as pc

        return [
            str(key) for key in self.table.filter(pc.equal(self.table["status"], HELD_OUT))["key"].to_pylist()
        ]

    def in_words(self) -> str:
        """The counts for a person."""
        return statuses_in_words(self.counts)

    def as_dict(self) -> dict[str, Any]:
        """What a report and a provenance say of it; `digest` is over the chosen images' names."""
        return {**self.counts, "digest": fingerprint(self._chosen_names())}


def choose(
    vectors: VectorFolder,
    wanted: "Filter",
    most: int | None,
    model: tuple[str, str],
    hold_out: float = 0.0,
) -> Choice:
    """The best `most` (None: all) images that a recipe's conditions on vectors leave, of a `model`'s.

    Best in the score of `score_with`, else in the order that the vectors have. About the share `hold_out` of
    them is then left out, by a hash of their keys: the same images in every run. Raises EncodeError: a
    predictor of another model, or that cannot be had; more images than can be compared with one another.
    """
    asked = _asked(wanted)
    _require_model(asked.values(), model)
    found = score_folder(vectors, list(asked.values())).scores if asked else {}
    scores = {key: found[each.name] for key, each in asked.items()}
    count = len(vectors)
    status = np.full(count, SPARE, object)
    for key, failed in _failing(wanted, scores):
        status[(status == SPARE) & failed] = key
    ranked = np.flatnonzero(status == SPARE)
    if "score_with" in scores:
        ranked = ranked[np.argsort(-scores["score_with"][ranked], kind="stable")]
    copy_of = np.full(count, -1)
    fate = _fates(vectors, ranked, wanted.dedupe_vectors, most)
    status[ranked[fate == KEPT]] = CHOSEN
    status[ranked[fate >= 0]] = COPY
    copy_of[ranked[fate >= 0]] = ranked[fate[fate >= 0]]
    if hold_out:
        status[(status == CHOSEN) & _drawn_by_key(vectors, hold_out)] = HELD_OUT
    kept = only(vectors, status == CHOSEN)
    if "score_with" in scores:
        kept = replace(kept, given_scores=scores["score_with"][status == CHOSEN])
    names = {key: each.name for key, each in asked.items()}
    return Choice(kept, _table(vectors, names, scores, status, copy_of), _counts(status))


def chosen_images(path: Path, by: str | None = None) -> dict[str, float | None] | None:
    """What a run chose by its vectors, by what these call it, with the scores of the predictor `by` if any.

    None where it chose nothing by them. Raises EncodeError for a file that cannot be read.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    try:
        table = pq.ParquetFile(path).read()
        rows = table.filter(pc.equal(table["status"], CHOSEN))
        scores = rows[by].to_pylist() if by in rows.column_names else [None] * rows.num_rows
        return dict(zip(rows["image_path"].to_pylist(), scores, strict=True))
    except parquet_errors() as error:
        raise EncodeError(f"{path} cannot be read ({error}); encode the run again") from None


def images_of_status(path: Path, status: str) -> frozenset[str]:
    """The images of a run that have this status, by what its vectors call them; none where it chose nothing.

    Raises EncodeError for a file that cannot be read.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.exists():
        return frozenset()
    try:
        table = pq.read_table(path, columns=["image_path", "status"])
    except parquet_errors() as error:
        raise EncodeError(f"{path} cannot be read ({error}); encode the run again") from None
    return frozenset(table.filter(pc.equal(table["status"], status))["image_path"].to_pylist())


def _asked(wanted: "Filter") -> dict[str, Predictor]:
    names = {
        "score_with": wanted.score_with,
        "max_unsafe": None if wanted.max_unsafe is None else _UNSAFE,
    }
    return {key: predictors()[name] for key, name in names.items() if name is not None}


def _require_model(asked: Iterable[Predictor], model: tuple[str, str]) -> None:
    for predictor in asked:
        if tuple(predictor.model) != model:
            raise EncodeError(
                f"the predictor {predictor.name} scores vectors of {' '.join(predictor.model)}, not of "
                f"{' '.join(model)}".rstrip()
            )


def _failing(wanted: "Filter", scores: Mapping[str, Floats]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Which images do not meet a condition, by the recipe's key."""
    found = []
    if "score_with" in scores and wanted.min_score is not None:
        found.append(("min_score", scores["score_with"] < wanted.min_score))
    if "score_with" in scores and wanted.max_score is not None:
        found.append(("max_score", scores["score_with"] > wanted.max_score))
    if "max_unsafe" in scores:
        found.append(("max_unsafe", scores["max_unsafe"] > (wanted.max_unsafe or 0.0)))
    return found


def _fates(
    vectors: VectorFolder, ranked: NDArray[np.int64], threshold: float | None, most: int | None
) -> NDArray[np.int64]:
    """Of each ranked vector KEPT, NOT_REACHED, or the place in `ranked` of the one that it is a copy of."""
    if threshold is None:
        fate = np.full(len(ranked), KEPT, np.int64)
        fate[len(ranked) if most is None else most :] = NOT_REACHED
        return fate
    if len(ranked) > _MOST_COMPARED:
        raise EncodeError(
            f"dedupe_vectors compares at most {_MOST_COMPARED:,} pictures with one another, and here are "
            f"{len(ranked):,}; encode fewer at a time, or without it"
        )
    units = np.concatenate([np.zeros((0, vectors.dimension), np.float32), *vectors.units()])
    return near_copies(units[ranked], threshold, most)


def _drawn_by_key(vectors: VectorFolder, share: float) -> NDArray[np.bool_]:
    """About this share of the images, each by a hash of its key alone; of one without a key, of its path."""
    from .rows import rows_of

    rows = rows_of(vectors).to_pylist()
    hashes = (fingerprint(f"held out: {row.get('key') or row.get('image_path')}") for row in rows)
    return np.array([int(each[:13], 16) < share * 16**13 for each in hashes], np.bool_)


def _table(
    vectors: VectorFolder,
    names: Mapping[str, str],
    scores: Mapping[str, Floats],
    status: NDArray[np.object_],
    copy_of: NDArray[np.int64],
) -> "pa.Table":
    """All images in the order of their vectors; a score's column has its predictor's name."""
    import pyarrow as pa

    from .rows import rows_of

    rows = rows_of(vectors)
    paths = rows["image_path"].to_pylist() if "image_path" in rows.column_names else [""] * len(status)
    keys = rows["key"] if "key" in rows.column_names else pa.nulls(len(status), pa.large_string())
    columns = {
        "key": keys,
        "image_path": pa.array(paths, pa.large_string()),
        **{names[key]: values for key, values in scores.items()},
        "status": pa.array(status.tolist(), pa.string()),
        "copy_of": pa.array([None if at < 0 else paths[at] for at in copy_of.tolist()], pa.string()),
    }
    return pa.table(columns)


def _counts(status: NDArray[np.object_]) -> dict[str, int]:
    values, counts = np.unique(status.astype(str), return_counts=True)
    return {CHOSEN: 0, **dict(zip(values.tolist(), counts.tolist(), strict=True))}


def statuses_in_words(counts: Mapping[str, Any]) -> str:
    """How many images there are of each status: `chosen 200, near copies 12, not max_unsafe 3, spare 40`."""
    words = {CHOSEN: "chosen", COPY: "near copies", SPARE: "spare", HELD_OUT: "held out"}
    numbers = {name: count for name, count in counts.items() if isinstance(count, int)}
    return ", ".join(f"{words.get(name, f'not {name}')} {count:,}" for name, count in numbers.items())
