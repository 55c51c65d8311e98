"""Pictures -> image vectors on disk -> one aesthetic embedding."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import save
from visunex.base.console import Progress, human_time
from visunex.base.errors import UsageError

from .clip import ImageEncoder, load, load_text
from .embedding import Checks, check, provenance, reduce_folder
from .errors import EncodeError, ModelError
from .partitions import Account, count_chosen, encode_vectors
from .rundir import RunDir
from .shards import Source, listing, run_sources, sources
from .vectors import VectorFolder, is_vector_folder, read_vectors
from .words import Word, captions_of, nearest_words

if TYPE_CHECKING:
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Encode

RUNS = Path("runs")


@dataclass(frozen=True)
class EncodeReport:
    """What encoding gave: `images` = `encoded` + the sum of `failed`.

    `left_out` counts what in tars and folders was no picture to begin with; `damaged` names shards that are
    not whole; `examples` names up to five pictures for each reason. `words` are those of the captions that
    lie nearest to the embedding.
    """

    images: int
    encoded: int
    failed: dict[str, int]
    examples: dict[str, list[str]]
    left_out: dict[str, int]
    damaged: dict[str, str]
    model: str
    pretrained: str
    precision: str
    device: str
    dimension: int
    reduction: str
    checks: Checks
    words: tuple[Word, ...]
    embedding: str
    seconds: float
    encoded_now: int
    encoding_seconds: float

    @property
    def images_per_second(self) -> float:
        """Pictures encoded by this call in a second of encoding: reading, decoding, tower and writing."""
        return self.encoded_now / max(self.encoding_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {**asdict(self), "images_per_second": self.images_per_second}

    def as_text(self) -> str:
        """The report for a person."""
        lines = [
            f"{self.encoded} of {self.images} pictures encoded with {self.model} {self.pretrained}".rstrip()
        ]
        lines += [
            f"  {count:>7}  {kind}, such as {self._example(kind)}" for kind, count in self.failed.items()
        ]
        lines += [f"  {count:>7}  left out: {kind}" for kind, count in self.left_out.items()]
        lines += [f"  not whole: {shard}: {reason}" for shard, reason in self.damaged.items()]
        rate = f"{self.images_per_second:.1f} pictures/s ({self.precision} on {self.device})"
        lines.append(f"  {human_time(self.seconds)}, {rate}")
        lines.append(f"{self.embedding}: 1x{self.dimension}, {self.reduction}, norm {self.checks.norm:.4g}")
        if self.words:
            lines.append(f"  nearest words: {', '.join(each.word for each in self.words)}")
        lines += self.checks.reference.lines() if self.checks.reference else []
        return "\n".join(lines)

    def _example(self, kind: str) -> str:
        return next(iter(self.examples.get(kind, [])), "?")


def encode(
    run: RunDir | None,
    recipe: "Recipe",
    *,
    images: Sequence[str | Path] = (),
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode the pictures of a run, or those in `images`, and reduce them to one embedding.

    `images` are shards, tars, pictures, folders or run folders. With a `run` (whose lock the caller holds)
    the vectors are kept in `run.vectors`, and a call after an interrupted one goes on partition by partition;
    without, only the embedding at `out` is. A picture that cannot be decoded is counted with its reason.

    Raises EncodeError (nothing to encode, nothing decodable, a decoder that died), ModelError,
    EmbeddingError, StaleRunError, UsageError.
    """
    started = time.monotonic()
    _check_request(run, out)
    places = sources(images) if images else _run_places(run)
    settings = recipe.encode
    encoder = load(settings.model, settings.pretrained, precision=settings.precision, device=device)
    if run is not None:
        run.begin("encode", _made_from(run, places, bool(images), encoder), overwrite=overwrite)
    with _vectors_folder(run) as folder:
        loaded = time.monotonic()
        with progress or Progress("encode", count_chosen(places)) as shown:
            account, fresh = encode_vectors(places, folder, encoder, settings, shown)
        encoding_seconds = time.monotonic() - loaded
        _require_some(account, places)
        vectors, baseline = read_vectors(folder), _baseline(folder, encoder, settings)
        vector = reduce_folder(vectors, settings.reduce, baseline)
        wanted = None if images or run is None else recipe.filter.top
        checks = check(vector, vectors, recipe, baseline, wanted)
        words = _words(vector, vectors, settings, device)
    story = provenance(
        recipe, encoder, checks, images=_images_of(account), places=[str(place) for place in images]
    )
    targets = [path for path in (run.embedding if run else None, out) if path is not None]
    for target in targets:
        save(target, vector, story)
    report = EncodeReport(
        images=account.images,
        encoded=account.encoded,
        failed=dict(account.failed.most_common()),
        examples=account.examples,
        left_out=dict(account.tally.members),
        damaged=account.tally.shards,
        model=encoder.model,
        pretrained=encoder.pretrained,
        precision=encoder.precision,
        device=encoder.device,
        dimension=encoder.dimension,
        reduction=settings.reduce,
        checks=checks,
        words=words,
        embedding=str(targets[-1]),
        seconds=round(time.monotonic() - started, 3),
        encoded_now=fresh,
        encoding_seconds=round(encoding_seconds, 3),
    )
    if run is not None:
        run.record("encode", report.as_dict())
    if checks.reference is not None:
        checks.reference.require_reproduced()
    return report


def _words(
    vector: NDArray[np.float32], vectors: VectorFolder, settings: "Encode", device: str
) -> tuple[Word, ...]:
    """What the embedding is about; nothing where the pictures have no captions, or the model no words."""
    captions = captions_of(part.metadata for part in vectors.parts if part.metadata is not None)
    if not any(captions):
        return ()
    try:
        encoder = load_text(settings.model, settings.pretrained, device=device)
    except ModelError:  # weights of an image tower alone, or a tokenizer that is not here
        return ()
    return nearest_words(vector, captions, encoder)


def _check_request(run: RunDir | None, out: Path | None) -> None:
    if run is None and out is None:
        raise UsageError("there is nowhere to put the embedding; name a file with --out, or a run with --run")
    if out is not None and (out.suffix != ".pt" or out.is_dir()):
        raise UsageError(f"--out names the file of the embedding, NAME.pt; {out} is none")


def _run_places(run: RunDir | None) -> list[Source]:
    places = run_sources(run.shards, run.downloaded) if run is not None else []
    if not places:
        where = run.shards if run is not None else "no run"
        raise EncodeError(
            f"there is nothing to encode in {where}; run `visunex-data download` first, or name pictures "
            "with --images"
        )
    return places


def _made_from(run: RunDir, places: Sequence[Source], given: bool, encoder: ImageEncoder) -> dict[str, Any]:
    own = None if given else run.identity("download")
    return {
        "images": own or listing(places),
        "model": encoder.model,
        "precision": encoder.precision,
        **encoder.identity(),
    }


@contextlib.contextmanager
def _vectors_folder(run: RunDir | None) -> Iterator[Path]:
    if run is not None:
        yield run.vectors
        return
    with tempfile.TemporaryDirectory(prefix="visunex-") as folder:
        yield Path(folder)


def _require_some(account: Account, places: Sequence[Source]) -> None:
    if account.encoded:
        return
    reasons = [f"{count} {kind}" for kind, count in account.failed.most_common()]
    reasons += [f"{shard}: {reason}" for shard, reason in account.tally.shards.items()]
    where = ", ".join(str(place.path) for place in places[:3]) + (", ..." if len(places) > 3 else "")
    raise EncodeError(f"no picture in {where} could be encoded ({'; '.join(reasons) or 'there is none'})")


def _images_of(account: Account) -> dict[str, Any]:
    return {"used": account.encoded, "failed": dict(account.failed.most_common())}


def _baseline(folder: Path, encoder: ImageEncoder, settings: "Encode") -> VectorFolder | None:
    """The vectors that a contrast stands against: those there are at the place, else made of its pictures."""
    if settings.baseline is None:
        return None
    place = Path(settings.baseline)
    if not place.exists() and (RUNS / place).exists():
        place = RUNS / place
    for candidate in (place, place / "vectors"):
        if is_vector_folder(candidate):
            return _matching(read_vectors(candidate), encoder)
    places = sources([place])
    own = folder / "baseline"
    with Progress("encode the baseline", count_chosen(places)) as shown:
        account, _ = encode_vectors(places, own, encoder, settings, shown)
    _require_some(account, places)
    return read_vectors(own)


def _matching(vectors: VectorFolder, encoder: ImageEncoder) -> VectorFolder:
    for identity in vectors.identities():
        if identity != encoder.identity():
            raise EncodeError(
                f"the baseline's vectors in {vectors.path} come from another tower or preprocessing than "
                f"{encoder.model}; give its pictures instead"
            )
    return vectors
