"""An embedding of rows whose vectors somebody has published; the rest is encoded of downloaded pictures."""

import hashlib
import importlib.util
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import save
from visunex.base.console import Progress, human_time
from visunex.base.errors import UsageError
from visunex.base.files import atomic, fingerprint

from .embedding import Checks, check, library_versions, reduce_folder
from .errors import EncodeError
from .precomputed import Found, Hit, Wanted, find, open_folder, read_rows
from .rundir import RunDir
from .shards import Sample, run_sources
from .vectors import (
    VectorFolder,
    is_vector_folder,
    part_paths,
    read_notes,
    read_vectors,
    remove_parts_from,
    write_part,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from visunex.recipes import Recipe

    from .clip import ImageEncoder

__all__ = ["MixedReport", "encode_precomputed", "look_up"]

RUNS = Path("runs")
_UNIT = 5e-3  # how far from 1 the norm of a normalised float16 vector may be


@dataclass(frozen=True)
class MixedReport:
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
    dimension: int
    reduction: str
    checks: Checks
    embedding: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return asdict(self)

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
        lines.append(f"  {human_time(self.seconds)}")
        lines.append(f"{self.embedding}: 1x{self.dimension}, {self.reduction}, norm {self.checks.norm:.4g}")
        return "\n".join(lines + (self.checks.reference.lines() if self.checks.reference else []))


def look_up(place: str, rows: "pa.Table") -> Found:
    """Where the vectors of a selection's rows lie; ranks are places in the table. Raises EncodeError."""
    hashes = rows["hash"].to_pylist() if "hash" in rows.column_names else None
    return find(open_folder(place), Wanted(rows["url"].to_pylist(), hashes))


def encode_precomputed(
    run: RunDir, recipe: "Recipe", *, out: Path | None = None, overwrite: bool = False, device: str = "auto"
) -> MixedReport:
    """Make the run's embedding of published vectors (`encode.precomputed`); the caller holds the lock.

    Before a download: of the best `filter.top` candidates that have a vector. After one: of the pictures that
    were chosen, those that have no vector being encoded. Raises EncodeError (vectors of another model, `mean`
    of vectors that are normalised, nothing found), ModelError, StaleRunError.
    """
    started = time.monotonic()
    place = str(recipe.encode.precomputed)
    rows, downloaded = _rows(run)
    found = look_up(place, rows)
    _require_model(found, recipe, place)
    ranks = sorted(found.hits)[: None if downloaded else recipe.filter.top]
    if not ranks:
        raise EncodeError(
            f"none of the {rows.num_rows} rows has a vector in {place}: is it of this data set?"
        )
    hits = [found.hits[rank] for rank in ranks]
    vectors = read_rows(open_folder(place), hits)
    _require_dimension(vectors.shape[1], recipe, place)
    samples = _samples(rows, ranks, place)
    made_from = {"precomputed": place, "rows": _fingerprint(samples, vectors), "model": _model(recipe)}
    rest = _rest(run, rows, found) if downloaded else None
    run.begin("encode", {**made_from, "rest": rest and run.identity("download")}, overwrite=overwrite)
    encoder, account = _encode_rest(run, rest, recipe, found, device)
    notes = {"model": _model(recipe), "precomputed": place, **_identity(found, encoder)}
    _write(run.vectors, vectors, hits, samples, notes)
    folder = read_vectors(run.vectors)
    baseline = _baseline(recipe)
    vector = reduce_folder(folder, recipe.encode.reduce, baseline)
    checks = check(vector, folder, recipe, baseline, recipe.filter.top)
    failed = dict(account["failed"])
    story = _provenance(
        recipe, checks, {"precomputed": len(hits), "encoded": account["encoded"], "failed": failed}
    )
    targets = [path for path in (run.embedding, out) if path is not None]
    for target in targets:
        save(target, vector, story)
    report = MixedReport(
        place=place,
        found_by=found.by,
        looked_through=found.rows,
        images=len(hits) + account["encoded"] + sum(failed.values()),
        precomputed=len(hits),
        encoded=account["encoded"],
        failed=failed,
        passed_over=0 if downloaded else ranks[-1] + 1 - len(ranks),
        model=recipe.encode.model,
        pretrained=recipe.encode.pretrained,
        dimension=vector.shape[1],
        reduction=recipe.encode.reduce,
        checks=checks,
        embedding=str(targets[-1]),
        seconds=round(time.monotonic() - started, 3),
    )
    run.record("encode", report.as_dict())
    if checks.reference is not None:
        checks.reference.require_reproduced()
    return report


def _rows(run: RunDir) -> tuple["pa.Table", bool]:
    """The pictures that were chosen; before a download, all candidates. The best first."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = run.downloaded if run.downloaded.exists() else run.selected
    try:
        table = pq.read_table(path)
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


def _model(recipe: "Recipe") -> list[str]:
    own = recipe.encode.model == "visunex-tiny" or recipe.encode.model.startswith("local-dir:")
    return [recipe.encode.model, "" if own else recipe.encode.pretrained]


def _require_model(found: Found, recipe: "Recipe", place: str) -> None:
    """Folders of ours say which model made them; clip-retrieval's do not."""
    said = found.notes.get("model")
    if said is not None and said != _model(recipe):
        raise EncodeError(
            f"{place} holds vectors of {' '.join(map(str, said)).strip()}, the recipe wants "
            f"{' '.join(_model(recipe)).strip()}: they do not mix; name the right one with --model"
        )


def _require_dimension(dimension: int, recipe: "Recipe", place: str) -> None:
    expected = _dimension(recipe.encode.model)
    if expected is not None and expected != dimension:
        raise EncodeError(
            f"{place} holds vectors of {dimension} dimensions, {recipe.encode.model} makes {expected}: they "
            "come from another model; name it with --model"
        )


def _dimension(model: str) -> int | None:
    """The dimension of a model's vectors from its configuration, without loading what computes with it."""
    spec = importlib.util.find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (spec and spec.submodule_search_locations) or ()]
    paths = [folder / f"{model.replace('/', '-')}.json" for folder in folders]
    if model == "visunex-tiny" or model.startswith("local-dir:"):
        from .weights import locate

        paths = [locate(model, "").file.parent / "open_clip_config.json"]
    for path in paths:
        try:
            config = json.loads(path.read_text())
            return int(config.get("model_cfg", config)["embed_dim"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _identity(found: Found, encoder: "ImageEncoder | None") -> dict[str, Any]:
    said = found.notes.get("identity")
    return {"identity": said} if said else {} if encoder is None else {"identity": encoder.identity()}


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
    run: RunDir, rest: Path | None, recipe: "Recipe", found: Found, device: str
) -> tuple["ImageEncoder | None", dict[str, Any]]:
    if rest is None:
        return None, {"encoded": 0, "failed": {}}
    from .clip import load
    from .partitions import count_chosen, encode_vectors

    settings = recipe.encode
    encoder = load(settings.model, settings.pretrained, precision=settings.precision, device=device)
    said = found.notes.get("identity")
    if said is not None and said != encoder.identity():
        raise EncodeError(
            f"{settings.precomputed} was made with other weights or preprocessing than {settings.model} "
            "here: the vectors do not mix"
        )
    places = run_sources(run.shards, rest)
    with Progress("encode", count_chosen(places)) as shown:
        account, _ = encode_vectors(places, run.vectors, encoder, settings, shown)
    return encoder, {"encoded": account.encoded, "failed": dict(account.failed.most_common())}


def _write(
    folder: Path,
    vectors: NDArray[np.float32],
    hits: Sequence[Hit],
    samples: Sequence[Sample],
    notes: dict[str, Any],
) -> None:
    """Put the published vectors behind the parts that were encoded of pictures."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    unit = np.abs(lengths - 1) < _UNIT
    said = np.array([np.nan if hit.norm is None else hit.norm for hit in hits])
    # Normalised ones were as long as the folder says, if it says so. Others are raw and say it themselves.
    norms = np.where(np.isfinite(said), said, np.where(unit.all(), np.nan, lengths))
    number = next(number for number in itertools.count() if not _ours(folder, number))
    remove_parts_from(folder, number)
    write_part(part_paths(folder, number), vectors, samples, notes, norms)


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
        "model": dict(zip(("name", "pretrained"), _model(recipe), strict=True)),
        "reduction": recipe.encode.reduce,
        "baseline": recipe.encode.baseline,
        "images": images,
        "checks": asdict(checks),
        "libraries": library_versions(),
    }
