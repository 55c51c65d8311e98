"""An embedding of rows whose vectors somebody has published; the rest is encoded of downloaded pictures."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.files import atomic, fingerprint
from visunex.base.progress import Progress, human_time
from visunex.clip.identity import dimension_of, model_of, other_model

from ..errors import EncodeError
from ..reduce.embedding import Checks, EmbeddingReport, check, library_versions, put, reduce_folder
from ..rundir import RunDir
from ..shards.discard import discard_pictures
from ..shards.samples import Sample, run_sources
from ..vectors.lookup import Found, Hit, look_up, read_rows
from ..vectors.remote_store import open_folder
from ..vectors.store import (
    VectorFolder,
    is_vector_folder,
    part_numbers,
    part_paths,
    read_notes,
    read_vectors,
    remove_parts_but,
    write_part,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from visunex.clip.image_encoder import ImageEncoder
    from visunex.recipes import Recipe

__all__ = ["MixedReport", "encode_precomputed"]

RUNS = Path("runs")
_UNIT = 5e-3  # how far from 1 the norm of a normalised float16 vector may be


@dataclass(frozen=True)
class MixedReport(EmbeddingReport):
    """What was made of published vectors, and of pictures: `images` = `precomputed` + `encoded` + `failed`.

    `passed_over` candidates would have come before the last one taken, but no vector of theirs is published.
    """

    place: str
    found_by: str
    looked_through: int
    images: int
    precomputed: int
    encoded: int
    failed: dict[str, int]
    passed_over: int
    model: str
    pretrained: str

    def as_text(self) -> str:
        """The report for a person."""
        lines = [
            f"{self.precomputed:,} vectors taken from {self.place}, found by {self.found_by} among "
            f"{self.looked_through:,} rows"
        ]
        if self.encoded or self.failed:
            lines.append(
                f"  {self.encoded:>7}  encoded from pictures with {self.model} {self.pretrained}".rstrip()
            )
        lines += [f"  {count:>7}  {kind}" for kind, count in self.failed.items()]
        if self.passed_over:
            lines.append(
                f"  {self.passed_over:>7}  better candidates passed over: no vector of theirs is there"
            )
        return "\n".join([*lines, f"  {human_time(self.seconds)}", *self.outcome()])


@dataclass(frozen=True)
class Taken:
    """The rows of a selection that have a published vector: `hits`, `vectors` [n, D], `samples`, by rank."""

    found: Found
    ranks: list[int]
    hits: list[Hit]
    vectors: NDArray[np.float32]
    samples: list[Sample]


def encode_precomputed(
    run: RunDir, recipe: "Recipe", *, out: Path | None = None, overwrite: bool = False, device: str = "auto"
) -> MixedReport:
    """Make the run's embedding of published vectors (`encode.precomputed`); the caller holds the lock.

    Before a download: of the best `filter.top` candidates that have a vector. After one: of the pictures that
    were chosen, those that have no vector being encoded. Raises EncodeError (vectors of another model, `mean`
    of vectors that are normalised, nothing found), ModelError, StaleRunError.
    """
    started = time.monotonic()
    rows, downloaded = _rows(run)
    taken = _take(recipe, rows, None if downloaded else recipe.filter.top)
    rest = _rest(run, rows, taken.found) if downloaded else None
    run.begin("encode", _made_from(run, recipe, taken, rest), overwrite=overwrite)
    encoder, images = _encode_rest(run, rest, recipe, taken, device)
    _write(run.vectors, taken, _notes(recipe, taken.found, encoder))
    vector, checks = _reduced(run, recipe)
    report = MixedReport(
        **images,
        place=str(recipe.encode.precomputed),
        found_by=taken.found.by,
        looked_through=taken.found.rows,
        images=images["precomputed"] + images["encoded"] + sum(images["failed"].values()),
        passed_over=0 if downloaded else taken.ranks[-1] + 1 - len(taken.ranks),
        model=recipe.encode.model,
        pretrained=recipe.encode.pretrained,
        dimension=vector.shape[1],
        reduction=recipe.encode.reduce,
        checks=checks,
        embedding=put(vector, _provenance(recipe, checks, images), run, out),
        seconds=round(time.monotonic() - started, 3),
    )
    return report.recorded(run)


def _take(recipe: "Recipe", rows: "pa.Table", most: int | None) -> Taken:
    """The vectors of the best rows that have one, at most `most`."""
    place = str(recipe.encode.precomputed)
    found = look_up(place, rows)
    if differing := other_model(found.notes, recipe.encode.model, recipe.encode.pretrained):
        raise EncodeError(
            f"{place} holds vectors of {differing[0]}, the recipe wants {differing[1]}: they do not mix; "
            "name the right one with --model"
        )
    ranks = sorted(found.hits)[:most]
    if not ranks:
        raise EncodeError(
            f"none of the {rows.num_rows} rows has a vector in {place}: is it of this data set?"
        )
    hits = [found.hits[rank] for rank in ranks]
    vectors = read_rows(open_folder(place), hits)
    _require_dimension(vectors.shape[1], recipe.encode.model, place)
    return Taken(found, ranks, hits, vectors, _samples(rows, ranks, place))


def _require_dimension(dimension: int, model: str, place: str) -> None:
    """Raise EncodeError where the model makes vectors of another dimension."""
    expected = dimension_of(model)
    if expected is not None and expected != dimension:
        raise EncodeError(
            f"{place} holds vectors of {dimension} dimensions, {model} makes {expected}: they "
            "come from another model; name it with --model"
        )


def _made_from(run: RunDir, recipe: "Recipe", taken: Taken, rest: Path | None) -> dict[str, Any]:
    return {
        "precomputed": str(recipe.encode.precomputed),
        "rows": _fingerprint(taken.samples, taken.vectors),
        "model": model_of(recipe.encode.model, recipe.encode.pretrained),
        "rest": rest and run.identity("download"),
    }


def _reduced(run: RunDir, recipe: "Recipe") -> tuple[NDArray[np.float32], Checks]:
    """The run's vectors as one, and what was checked of it."""
    folder, baseline = read_vectors(run.vectors), _baseline(recipe)
    vector = reduce_folder(folder, recipe.encode.reduce, baseline)
    return vector, check(vector, folder, recipe, baseline, recipe.filter.top)


def _rows(run: RunDir) -> tuple["pa.Table", bool]:
    """The pictures that were chosen; before a download, all candidates. The best first."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = run.downloaded if run.downloaded.exists() else run.selected
    try:
        table = pq.ParquetFile(path).read()  # read_table would load what reads data sets of many files
        if path == run.downloaded:
            return table.filter(pc.field("chosen")), True
        table.select(["key", "url", "caption", "score"])
    except FileNotFoundError:
        raise EncodeError(
            f"there is no {path}: run `visunex-data filter` first, or choose another --run"
        ) from None
    except (pa.ArrowException, KeyError) as error:
        raise EncodeError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    return table, False


def _notes(recipe: "Recipe", found: Found, encoder: "ImageEncoder | None") -> dict[str, Any]:
    """What is noted with the vectors; `identity` where the folder says it, or the rest was encoded here."""
    identity = found.notes.get("identity") or (encoder and encoder.identity())
    noted = {
        "model": model_of(recipe.encode.model, recipe.encode.pretrained),
        "precomputed": recipe.encode.precomputed,
    }
    return {**noted, "identity": identity} if identity else noted


def _samples(rows: "pa.Table", ranks: Sequence[int], place: str) -> list[Sample]:
    picked = rows.select(["key", "url", "caption", "score"]).take(list(ranks)).to_pylist()
    return [
        Sample(row["key"], f"{place} {row['key']}", Path(), 0, 0, row["caption"], row["url"], row["score"])
        for row in picked
    ]


def _fingerprint(samples: Sequence[Sample], vectors: NDArray[np.float32]) -> str:
    return fingerprint([[each.url for each in samples], hashlib.sha256(vectors.tobytes()).hexdigest()])


def _rest(run: RunDir, rows: "pa.Table", found: Found) -> Path | None:
    """A table of the chosen pictures that have no published vector, in the layout of `downloaded.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    left = [rank for rank in range(rows.num_rows) if rank not in found.hits]
    if not left:
        return None
    path = run.path / ".visunex" / "rest.parquet"
    with atomic(path) as temporary:
        pq.write_table(rows.take(pa.array(left)), temporary)
    return path


def _encode_rest(
    run: RunDir, rest: Path | None, recipe: "Recipe", taken: Taken, device: str
) -> tuple["ImageEncoder | None", dict[str, Any]]:
    """Encode the pictures without a published vector; how many images came from where."""
    if rest is None:
        return None, {"precomputed": len(taken.hits), "encoded": 0, "failed": {}}
    from .load import load_encoder
    from .partition_encoder import count_chosen, encode_vectors

    settings = recipe.encode
    encoder = load_encoder(settings, device)
    said = taken.found.notes.get("identity")
    if said is not None and said != encoder.identity():
        raise EncodeError(
            f"{settings.precomputed} was made with other weights or preprocessing than {settings.model} "
            "here: the vectors do not mix"
        )
    places = run_sources(run.shards, rest)
    with Progress("encode", count_chosen(places)) as shown:
        account, _ = encode_vectors(places, run.vectors, encoder, settings, shown)
    if settings.discard_images:
        discard_pictures(place.path for place in places)
    failed = dict(account.failed.most_common())
    return encoder, {"precomputed": len(taken.hits), "encoded": account.encoded, "failed": failed}


def _write(folder: Path, taken: Taken, notes: dict[str, Any]) -> None:
    """Put the published vectors behind the parts that were encoded of pictures."""
    lengths = np.linalg.norm(taken.vectors.astype(np.float64), axis=1)
    unit = np.abs(lengths - 1) < _UNIT
    said = np.array([np.nan if hit.norm is None else hit.norm for hit in taken.hits])
    # Normalised ones were as long as the folder says, if it says so. Others are raw and say it themselves.
    norms = np.where(np.isfinite(said), said, np.where(unit.all(), np.nan, lengths))
    ours = {number for number in part_numbers(folder) if _ours(folder, number)}
    number = max(ours, default=-1) + 1
    remove_parts_but(folder, ours)
    write_part(part_paths(folder, number), taken.vectors, taken.samples, notes, norms)


def _ours(folder: Path, number: int) -> bool:
    """Whether a part was encoded of this run's pictures."""
    noted = read_notes(part_paths(folder, number))
    return noted is not None and "precomputed" not in noted


def _baseline(recipe: "Recipe") -> VectorFolder | None:
    if recipe.encode.baseline is None:
        return None
    place = Path(recipe.encode.baseline)
    for candidate in (place, place / "vectors", RUNS / place / "vectors"):
        if is_vector_folder(candidate):
            return read_vectors(candidate)
    raise UsageError(
        f"with --precomputed, --baseline must name a run or folder that has vectors; {place} has none"
    )


def _provenance(recipe: "Recipe", checks: Checks, images: dict[str, Any]) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "recipe_hash": fingerprint(recipe.model_dump(mode="json")),
        "source": recipe.source.data,
        "precomputed": recipe.encode.precomputed,
        "model": dict(
            zip(("name", "pretrained"), model_of(recipe.encode.model, recipe.encode.pretrained), strict=True)
        ),
        "reduction": recipe.encode.reduce,
        "baseline": recipe.encode.baseline,
        "images": images,
        "checks": asdict(checks),
        "libraries": library_versions(),
    }
