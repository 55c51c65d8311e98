"""An embedding of rows whose vectors somebody has published; the rest is encoded from downloaded images."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import first_line
from visunex.base.files import atomic, fingerprint
from visunex.base.progress import Progress
from visunex.clip.identity import dimension_of, model_of, other_model

from ..chain import require_download
from ..errors import EncodeError, parquet_errors
from ..reduce.checks import Checks, check
from ..reduce.embedding import RecipeIdentity, provenance, reduce_folder, save_embedding
from ..rundir import RunDir
from ..shards.discard import discard_images
from ..shards.samples import Sample, run_sources
from ..shards.sidecar import counted_licenses
from ..vectors.alignment import require_aligned
from ..vectors.lookup import Found, Hit, look_up, read_rows
from ..vectors.remote_store import PublishedFolder, open_folder
from ..vectors.store import (
    VectorFolder,
    part_numbers,
    part_paths,
    read_provenance,
    read_vectors,
    remove_parts_but,
    write_part,
)
from .baseline import published_baseline
from .reports import PrecomputedReport, count_gone, origin_of, require_all_there
from .resume import begin_published, drop_earlier

if TYPE_CHECKING:
    import pyarrow as pa

    from visunex.clip.image_encoder import ImageEncoder
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Encode

__all__ = ["PrecomputedReport", "encode_precomputed"]

_UNIT = 5e-3  # how far from 1 the norm of a normalised float16 vector may be


@dataclass(frozen=True)
class _Published:
    """The rows of a selection that have a published vector: `hits`, `vectors` [n, D], `samples`, by rank.

    `dropped` names those whose vector is zero or not finite, `missing_parts` the gaps in the numbering.
    """

    found: Found
    ranks: list[int]
    hits: list[Hit]
    vectors: NDArray[np.float32]
    samples: list[Sample]
    dropped: list[str]
    missing_parts: list[int]


@dataclass(frozen=True)
class _ImageCounts:
    """How many images there are by where their vectors come from, and how many have none."""

    precomputed: int
    encoded: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """All of them."""
        return self.precomputed + self.encoded + sum(self.failed.values())


def encode_precomputed(
    run: RunDir,
    recipe: "Recipe",
    *,
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    adds: bool = False,
) -> PrecomputedReport:
    """Make the run's embedding of published vectors (`encode.precomputed`); the caller holds the lock.

    Before a download: of the best `filter.top` candidates that have a vector. After one: of the images that
    were chosen, those that have no vector being encoded. Where it `adds` the rows may be others than the run
    has, as long as they have some in common. Raises EncodeError (vectors of another model, `mean`
    of vectors that are normalised, nothing found), ModelError, StaleRunError.
    """
    started, settings = time.monotonic(), recipe.encode
    _require_one_encoder(settings, run)
    rows, downloaded = _rows(run, recipe)
    published = _take(settings, rows, None if downloaded else recipe.filter.top)
    rest = _rest(run, rows, published.ranks) if downloaded else None
    made_from, links = _made_from(run, settings, published, rest), {each.url for each in published.samples}
    begin_published(run, made_from, links, adds=adds, overwrite=overwrite)
    encoder, counts = _encode_rest(run, rest, settings, published, device)
    _write(run.vectors, published, settings, encoder)
    vectors, baseline = read_vectors(run.vectors), published_baseline(settings.baseline)
    vector = reduce_folder(vectors, settings.reduce, baseline)
    licenses = _licenses(run, rows, None if downloaded else published.ranks)
    made_of = _made_of(run, settings, recipe.source.data, counts) | {"licenses": licenses}
    checks, made = _checked(vector, vectors, recipe, baseline, made_of)
    report = PrecomputedReport(
        **asdict(counts),
        place=str(settings.vectors_place),
        found_by=published.found.by,
        looked_through=published.found.rows,
        dropped=published.dropped,
        missing_parts=published.missing_parts,
        baseline_dropped=baseline.dropped if baseline is not None else [],
        images=counts.images,
        passed_over=0 if downloaded else published.ranks[-1] + 1 - len(published.ranks),
        model=settings.model,
        pretrained=settings.pretrained,
        dimension=vector.shape[1],
        reduction=settings.reduce,
        checks=checks,
        embedding=save_embedding(vector, made, run, out),
        seconds=round(time.monotonic() - started, 3),
    )
    run.groups.unlink(missing_ok=True)  # of other vectors; the page finds them anew
    report = report.recorded(run)
    require_all_there(run, report.failed, report.images)
    return report


def _checked(
    vector: NDArray[np.float32],
    vectors: VectorFolder,
    recipe: "Recipe",
    baseline: VectorFolder | None,
    made_of: dict[str, Any],
) -> tuple[Checks, dict[str, Any]]:
    """What was checked of an embedding, and its provenance."""
    compared: dict[str, Any] = {"baseline": baseline, "model": made_of["model"]}
    how, wanted = recipe.encode.reduce, recipe.filter.top
    checks = check(vector, vectors, how, recipe.reference, wanted=wanted, **compared)
    return checks, provenance(RecipeIdentity.of(recipe), made_of, checks)


def _require_one_encoder(settings: "Encode", run: RunDir) -> None:
    """Raise EncodeError where further encoders are asked for: here no picture need be read."""
    if settings.also:
        raise EncodeError(
            f"{settings.also[0]} (also) needs pictures, and these vectors are taken as they are; leave it "
            f"out, and encode the run's pictures with it: `visunex-data encode --images {run.path} --model "
            f"{settings.others[0].model} --out FILE.pt`"
        )


def _take(settings: "Encode", rows: "pa.Table", most: int | None) -> _Published:
    """The vectors of the best rows that have one, at most `most`."""
    place = str(settings.vectors_place)
    folder = open_folder(place)
    require_aligned(folder, settings.model, settings.pretrained)
    found = look_up(folder, rows)
    if differing := other_model(found.provenance, settings.model, settings.pretrained):
        raise EncodeError(
            f"{place} holds vectors of {differing[0]}, the recipe wants {differing[1]}: they do not mix; "
            "name the right one with --model"
        )
    if not found.hits:
        raise EncodeError(
            f"none of the {rows.num_rows} rows has a vector in {place}: is it of this data set?"
        )
    ranks, vectors, bad = _sound(folder, found, most)
    if not ranks:
        raise EncodeError(f"every vector found in {place} is zero or not finite ({bad[0]}); it is broken")
    _require_dimension(vectors.shape[1], settings.model, place)
    hits = [found.hits[rank] for rank in ranks]
    return _Published(found, ranks, hits, vectors, _samples(rows, ranks, place), bad, folder.missing)


def _sound(
    folder: PublishedFolder, found: Found, most: int | None
) -> tuple[list[int], NDArray[np.float32], list[str]]:
    """The ranks of the best `most` whose vectors have a direction, these vectors, and the names of others."""
    left, ranks, blocks, bad = sorted(found.hits), list[int](), list[NDArray[np.float32]](), list[str]()
    while left and (most is None or len(ranks) < most):
        count = len(left) if most is None else most - len(ranks)
        tried, left = left[:count], left[count:]
        vectors = read_rows(folder, [found.hits[rank] for rank in tried])
        sound = [bool(np.isfinite(row).all()) for row in vectors]
        blocks.append(vectors[sound])
        ranks += [rank for rank, good in zip(tried, sound, strict=True) if good]
        hits = [found.hits[rank] for rank, good in zip(tried, sound, strict=True) if not good]
        bad += [f"{folder.parts[hit.part].vectors.name} row {hit.row}" for hit in hits]
    if len({block.shape[1] for block in blocks}) > 1:
        raise EncodeError(
            f"{folder.place} has parts of different dimensions: they come from different towers"
        )
    return ranks, np.concatenate(blocks), bad


def _require_dimension(dimension: int, model: str, place: str) -> None:
    """Raise EncodeError where the model makes vectors of another dimension."""
    expected = dimension_of(model)
    if expected is not None and expected != dimension:
        raise EncodeError(
            f"{place} holds vectors of {dimension} dimensions, {model} makes {expected}: they "
            "come from another model; name it with --model"
        )


def _made_from(run: RunDir, settings: "Encode", published: _Published, rest: Path | None) -> dict[str, Any]:
    """What tells these vectors from others, for the run."""
    return {
        "precomputed": str(settings.vectors_place),
        "rows": _fingerprint(published.samples, published.vectors),
        "model": model_of(settings.model, settings.pretrained),
        "rest": rest and run.identity("download"),
    }


def _rows(run: RunDir, recipe: "Recipe") -> tuple["pa.Table", bool]:
    """The images that were chosen; before a download, all candidates. The best first."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    require_download(run, recipe)
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
    except parquet_errors() as error:
        raise EncodeError(f"{path} cannot be read: {first_line(error)}") from None
    return table, False


def _part_provenance(settings: "Encode", found: Found, encoder: "ImageEncoder | None") -> dict[str, Any]:
    """What the part says of itself; `identity` where the folder says it, or the rest was encoded here."""
    identity = found.provenance.get("identity") or (encoder and encoder.identity())
    made = {"model": model_of(settings.model, settings.pretrained), "precomputed": settings.vectors_place}
    return {**made, "identity": identity} if identity else made


def _samples(rows: "pa.Table", ranks: Sequence[int], place: str) -> list[Sample]:
    picked = rows.select(["key", "url", "caption", "score"]).take(list(ranks)).to_pylist()
    return [
        Sample(row["key"], f"{place} {row['key']}", Path(), 0, 0, row["caption"], row["url"], row["score"])
        for row in picked
    ]


def _fingerprint(samples: Sequence[Sample], vectors: NDArray[np.float32]) -> str:
    return fingerprint([[each.url for each in samples], hashlib.sha256(vectors.tobytes()).hexdigest()])


def _rest(run: RunDir, rows: "pa.Table", ranks: Sequence[int]) -> Path | None:
    """A table of the chosen images without a usable vector, in the layout of `downloaded.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    published = set(ranks)
    left = [rank for rank in range(rows.num_rows) if rank not in published]
    if not left:
        return None
    path = run.path / ".visunex" / "rest.parquet"
    with atomic(path) as temporary:
        pq.write_table(rows.take(pa.array(left)), temporary)
    return path


def _encode_rest(
    run: RunDir, rest: Path | None, settings: "Encode", published: _Published, device: str
) -> tuple["ImageEncoder | None", _ImageCounts]:
    """Encode the images without a published vector; how many images come from where."""
    if rest is None:
        return None, _ImageCounts(len(published.hits))
    from .counts import count_chosen
    from .encoders import load_encoder
    from .partition_encoder import encode_vectors

    encoder = load_encoder(settings, device)
    theirs = published.found.provenance.get("identity")
    if theirs is not None and theirs != encoder.identity():
        raise EncodeError(
            f"{settings.vectors_place} was made with other weights or preprocessing than {settings.model} "
            "here: the vectors do not mix"
        )
    places = run_sources(run.shards, rest)
    with Progress("encode", count_chosen(places)) as shown:
        counts, _ = encode_vectors(places, run.vectors, encoder, settings, shown)
    if settings.discard_images and not count_gone(counts.failed):
        discard_images(place.path for place in places)
    return encoder, _ImageCounts(len(published.hits), counts.encoded, dict(counts.failed.most_common()))


def _write(folder: Path, published: _Published, settings: "Encode", encoder: "ImageEncoder | None") -> None:
    """Put the published vectors behind the parts that were encoded from images."""
    provenance = _part_provenance(settings, published.found, encoder)
    lengths = np.linalg.norm(published.vectors.astype(np.float64), axis=1)
    unit = np.abs(lengths - 1) < _UNIT
    said = np.array([np.nan if hit.norm is None else hit.norm for hit in published.hits])
    # Normalised ones were as long as the folder says, if it says so. Others are raw and say it themselves.
    norms = np.where(np.isfinite(said), said, np.where(unit.all(), np.nan, lengths))
    ours = {number for number in part_numbers(folder) if _is_ours(folder, number)}
    number = max(ours, default=-1) + 1
    remove_parts_but(folder, ours)
    write_part(part_paths(folder, number), published.vectors, published.samples, provenance, norms)
    drop_earlier(folder, encoder)


def _is_ours(folder: Path, number: int) -> bool:
    """Whether a part was encoded from this run's images."""
    made = read_provenance(part_paths(folder, number))
    return made is not None and "precomputed" not in made


def _licenses(run: RunDir, rows: "pa.Table", ranks: Sequence[int] | None) -> dict[str, int] | None:
    """How many of the images are under each licence: of all rows, or those of some ranks."""
    if (column := run.license_column) is None or column not in rows.column_names:
        return None
    values = rows[column] if ranks is None else rows[column].take(list(ranks))
    return counted_licenses(values.to_pylist())


def _made_of(run: RunDir, settings: "Encode", source: str, counts: _ImageCounts) -> dict[str, Any]:
    """What `embedding.json` says that the embedding was made of."""
    names = ("name", "pretrained")
    return {
        "source": source,
        "precomputed": settings.vectors_place,
        "model": dict(zip(names, model_of(settings.model, settings.pretrained), strict=True)),
        "reduction": settings.reduce,
        "baseline": settings.baseline,
        "images": asdict(counts),
        **origin_of(run),
    }
