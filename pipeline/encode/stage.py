"""Pictures -> image vectors on disk -> one aesthetic embedding."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.progress import Progress, human_time
from visunex.clip.factory import load_text
from visunex.clip.image_encoder import ImageEncoder

from ..errors import EncodeError, ModelError
from ..reduce.embedding import Checks, EmbeddingReport, check, provenance, put, reduce_folder
from ..reduce.nearest_words import Word, captions_of, nearest_words
from ..rundir import RunDir
from ..shards.discard import discard_pictures
from ..shards.samples import Source, listing, run_sources, sources
from ..vectors.store import VectorFolder, is_vector_folder, read_vectors
from .load import load_encoder
from .partition_encoder import Account, count_chosen, encode_vectors

if TYPE_CHECKING:
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Encode

RUNS = Path("runs")


@dataclass(frozen=True)
class EncodeReport(EmbeddingReport):
    """What encoding gave: `images` = `encoded` + the sum of `failed`.

    `left_out` counts what in tars and folders was no picture to begin with; `damaged` names shards that are
    not whole; `examples` names up to five pictures for each reason. `words` are those of the captions that
    lie nearest to the embedding. `discarded` says that the pictures are not kept.
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
    words: tuple[Word, ...]
    encoded_now: int
    encoding_seconds: float
    discarded: bool

    @property
    def images_per_second(self) -> float:
        """Pictures encoded by this call in a second of encoding: reading, decoding, tower and writing."""
        return self.encoded_now / max(self.encoding_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {**super().as_dict(), "images_per_second": self.images_per_second}

    def as_text(self) -> str:
        """The report for a person."""
        kept = ", and discarded" if self.discarded else ""
        with_what = f"{self.model} {self.pretrained}".rstrip()
        lines = [f"{self.encoded} of {self.images} pictures encoded with {with_what}{kept}"]
        lines += [
            f"  {count:>7}  {kind}, such as {self._example(kind)}" for kind, count in self.failed.items()
        ]
        lines += [f"  {count:>7}  left out: {kind}" for kind, count in self.left_out.items()]
        lines += [f"  not whole: {shard}: {reason}" for shard, reason in self.damaged.items()]
        rate = f"{self.images_per_second:.1f} pictures/s ({self.precision} on {self.device})"
        lines.append(f"  {human_time(self.seconds)}, {rate}")
        embedding, *reference = self.outcome()
        words = [f"  nearest words: {', '.join(each.word for each in self.words)}"] if self.words else []
        return "\n".join([*lines, embedding, *words, *reference])

    def _example(self, kind: str) -> str:
        return next(iter(self.examples.get(kind, [])), "?")


@dataclass(frozen=True)
class Encoded:
    """Pictures that were encoded, by which tower, and in how many seconds of encoding."""

    encoder: ImageEncoder
    account: Account
    fresh: int
    seconds: float


def encode(
    run: RunDir | None,
    recipe: "Recipe",
    *,
    images: Sequence[str | Path] = (),
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    early: Encoded | None = None,
) -> EncodeReport:
    """Encode the pictures of a run, or those in `images`, and reduce them to one embedding.

    `images` are shards, tars, pictures, folders or run folders. With a `run` (whose lock the caller holds)
    the vectors are kept in `run.vectors`, and a call after an interrupted one goes on partition by partition;
    without, only the embedding at `out` is. A picture that cannot be decoded is counted with its reason.
    `early` is what was encoded while the run's pictures were downloaded; then `begin_encode` was called.

    Raises EncodeError (nothing to encode, nothing decodable, a decoder that died), ModelError,
    EmbeddingError, StaleRunError, UsageError.
    """
    early_seconds = early.seconds if early else 0.0
    started, settings = time.monotonic() - early_seconds, recipe.encode
    _check_request(run, recipe, out, given=bool(images))
    places = sources(images) if images else _run_places(run)
    given = places if images else None
    encoder = early.encoder if early else begin_encode(run, recipe, given, overwrite=overwrite, device=device)
    with _vectors_folder(run) as folder:
        encoded = _encoded(places, folder, encoder, settings, progress)
        wanted = None if images or run is None else recipe.filter.top
        vector, checks, words = _reduced(folder, encoder, recipe, wanted)
    if settings.discard_images:
        discard_pictures(place.path for place in places)
    used = {"used": encoded.account.encoded, "failed": dict(encoded.account.failed.most_common())}
    story = provenance(recipe, encoder, checks, images=used, places=[str(place) for place in images])
    report = EncodeReport(
        **_counts(encoded.account),
        **_tower(encoder),
        reduction=settings.reduce,
        checks=checks,
        words=words,
        embedding=put(vector, story, run, out),
        seconds=round(time.monotonic() - started, 3),
        encoded_now=encoded.fresh + (early.fresh if early else 0),
        encoding_seconds=round(encoded.seconds + early_seconds, 3),
        discarded=settings.discard_images,
    )
    return report.recorded(run)


def begin_encode(
    run: RunDir | None,
    recipe: "Recipe",
    given: Sequence[Source] | None = None,
    *,
    overwrite: bool = False,
    device: str = "auto",
) -> ImageEncoder:
    """Load the tower; from here on the run's vectors are of it, and of its pictures or those `given`.

    Raises ModelError, StaleRunError.
    """
    encoder = load_encoder(recipe.encode, device)
    if run is not None:
        run.begin("encode", _made_from(run, given, encoder), overwrite=overwrite)
    return encoder


def _encoded(
    places: Sequence[Source],
    folder: Path,
    encoder: ImageEncoder,
    settings: "Encode",
    progress: Progress | None = None,
) -> Encoded:
    """Bring the vectors up to date. A `progress` that is at work already goes on and is not ended."""
    began, total = time.monotonic(), count_chosen(places)
    if progress is not None:
        progress.total = None if total is None else total + progress.done
    with contextlib.nullcontext(progress) if progress is not None else Progress("encode", total) as shown:
        account, fresh = encode_vectors(places, folder, encoder, settings, shown)
    _require_some(account, places)
    return Encoded(encoder, account, fresh, time.monotonic() - began)


def _reduced(
    folder: Path, encoder: ImageEncoder, recipe: "Recipe", wanted: int | None
) -> tuple[NDArray[np.float32], Checks, tuple[Word, ...]]:
    """The vectors as one, what was checked of it, and what it is about in words."""
    vectors, baseline = read_vectors(folder), _baseline(folder, encoder, recipe.encode)
    vector = reduce_folder(vectors, recipe.encode.reduce, baseline)
    checks = check(vector, vectors, recipe, baseline, wanted)
    return vector, checks, _words(vector, vectors, encoder)


def _words(vector: NDArray[np.float32], vectors: VectorFolder, tower: ImageEncoder) -> tuple[Word, ...]:
    """What the embedding is about; nothing where the pictures have no captions, or the model no words."""
    captions = captions_of(part.metadata for part in vectors.parts if part.metadata is not None)
    if not any(captions):
        return ()
    try:
        encoder = load_text(tower.model, tower.pretrained, device=tower.device)
    except ModelError:  # weights of an image tower alone, or a tokenizer that is not here
        return ()
    return nearest_words(vector, captions, encoder)


def _check_request(run: RunDir | None, recipe: "Recipe", out: Path | None, *, given: bool) -> None:
    if run is None and out is None:
        raise UsageError("there is nowhere to put the embedding; name a file with --out, or a run with --run")
    if out is not None and (out.suffix != ".pt" or out.is_dir()):
        raise UsageError(f"--out names the file of the embedding, NAME.pt; {out} is none")
    if recipe.encode.discard_images and (given or run is None or run.made_from("download") is None):
        raise UsageError("--discard-images is for pictures that `visunex-data download` can fetch again")


def _run_places(run: RunDir | None) -> list[Source]:
    places = run_sources(run.shards, run.downloaded) if run is not None else []
    if not places:
        where = run.shards if run is not None else "no run"
        raise EncodeError(
            f"there is nothing to encode in {where}; run `visunex-data download` first, or name pictures "
            "with --images"
        )
    return places


def _made_from(run: RunDir, given: Sequence[Source] | None, encoder: ImageEncoder) -> dict[str, Any]:
    own = run.identity("download") if given is None else None
    images = own or listing(_run_places(run) if given is None else given)
    return {"images": images, "model": encoder.model, "precision": encoder.precision, **encoder.identity()}


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


def _counts(account: Account) -> dict[str, Any]:
    return {
        "images": account.images,
        "encoded": account.encoded,
        "failed": dict(account.failed.most_common()),
        "examples": account.examples,
        "left_out": dict(account.tally.members),
        "damaged": account.tally.shards,
    }


def _tower(encoder: ImageEncoder) -> dict[str, Any]:
    names = ("model", "pretrained", "precision", "device", "dimension")
    return {name: getattr(encoder, name) for name in names}


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
