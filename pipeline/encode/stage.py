"""The stage encode: images -> vectors on disk -> one aesthetic embedding.

`encode` does it all. Where images are encoded while others are still downloaded, `begin_encode` comes before
that and `finish_encode` after it.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.files import fingerprint
from visunex.base.progress import Progress
from visunex.clip.image_encoder import ImageEncoder
from visunex.recipes.schema import Filter

from ..chain import chooses_after_encode, require_download
from ..errors import EncodeError
from ..reduce.about import About, about
from ..reduce.checks import Checks, check
from ..reduce.embedding import (
    RecipeIdentity,
    provenance,
    reduce_folder,
    require_target,
    save_embedding,
)
from ..rundir import RunDir
from ..score.choice import Choice, choose
from ..shards.discard import discard_images
from ..shards.repeats import Repeats, RunningRepeats, find_repeats
from ..shards.samples import Source, listing, run_sources, sources
from ..vectors.store import VectorFolder, read_vectors
from .baseline import baseline_place, begin_baseline, encoded_baseline
from .elsewhere import Elsewhere, elsewhere
from .partition_encoder import (
    OutcomeCounts,
    count_chosen,
    encode_lots,
    encode_vectors,
    load_encoder,
    require_some,
)
from .reports import EncodeReport, count_gone, facts_of, origin_of, provenance_of, require_all_there
from .resume import begin_vectors, drop_earlier

if TYPE_CHECKING:
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Encode

__all__ = ["EncodeReport", "EncodeRequest", "Encoded", "begin_encode", "encode", "encode_to", "finish_encode"]


@dataclass(frozen=True)
class EncodeRequest:
    """Which images are encoded, and where their embedding goes: into the run, and to `out`.

    The images are the run's, or those `given` and in files `elsewhere`, which the user calls `names`, with
    the `repeats` among them. The caller holds the run's lock.
    """

    run: RunDir | None
    given: tuple[Source, ...] | None = None
    names: tuple[str, ...] = ()
    out: Path | None = None
    repeats: Repeats | RunningRepeats | None = None
    elsewhere: Elsewhere | None = None

    def sources(self) -> list[Source]:
        """Where the images are. Raises EncodeError where there are none."""
        if self.given is not None:
            return list(self.given)
        found = run_sources(self.run.shards, self.run.downloaded) if self.run is not None else []
        if not found:
            where = self.run.shards if self.run is not None else "no run"
            raise EncodeError(
                f"there is nothing to encode in {where}; run `visunex-data download` first, or name pictures "
                "with --images"
            )
        return found

    def lots(self) -> Iterator[Sequence[Source]]:
        """The images, those of each file that lies elsewhere apart; it is gone when the next is asked for."""
        found = self.sources()
        yield from [found] if self.elsewhere is None else self.elsewhere.lots(self.run, found)


@dataclass(frozen=True)
class Encoded:
    """Images that were encoded: by which encoder, what became of them, and the seconds of encoding."""

    encoder: ImageEncoder
    counts: OutcomeCounts = field(default_factory=OutcomeCounts)
    encoded_now: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Reduced:
    """Vectors as one float32 [1, D], what was checked of it, and what it is about."""

    vector: NDArray[np.float32]
    checks: Checks
    about: About
    baseline_dropped: tuple[str, ...] = ()
    choice: Choice | None = None


def encode(
    run: RunDir | None,
    recipe: "Recipe",
    *,
    images: Sequence[str | Path] = (),
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> EncodeReport:
    """Encode the images of a run, or those in `images`, and reduce them to one embedding.

    `images` are shards, tars, images' files, folders, run folders, addresses or sets on the Hub. With a `run`
    (whose lock the caller holds) the vectors are kept in `run.vectors`, and a call after an interrupted one
    goes on by partitions; without, only the embedding at `out` is. What cannot be decoded is counted.

    Raises EncodeError (nothing to encode, nothing decodable, a decoder that died; chosen images that are
    gone, the others being encoded), ModelError, EmbeddingError, StaleRunError, UsageError.
    """
    started = time.monotonic()
    _require_sense(run, out, discards=recipe.encode.discard_images, given=bool(images))
    if run is not None and not images:
        require_download(run, recipe)
    request = _request_for(images, run, recipe, out) if images else EncodeRequest(run, out=out)
    request.sources()  # where there is nothing to encode, no encoder need be loaded
    encoder = begin_encode(request, recipe.encode, overwrite=overwrite, device=device)
    return finish_encode(request, recipe, Encoded(encoder), started=started)


def encode_to(
    folder: Path, images: Sequence[str | Path], recipe: "Recipe", device: str = "auto"
) -> OutcomeCounts:
    """Write the vectors of `images`, places as `encode` takes them, to a folder, and make no embedding.

    Raises EncodeError, ModelError.
    """
    request = _request_for(images, None, recipe, None)
    request.sources()  # where there is nothing to encode, no encoder need be loaded
    return _encode_rest(request, folder, load_encoder(recipe.encode, device), recipe.encode, None).counts


def _request_for(
    images: Sequence[str | Path], run: RunDir | None, recipe: "Recipe", out: Path | None
) -> EncodeRequest:
    """The request for images that the user names."""
    column, dedupe = recipe.source.columns.image, recipe.encode.dedupe_images
    here, far = elsewhere(images, column, recipe.download.max_remote_bytes, dedupe)
    places, names = sources(here, column), tuple(map(str, images))
    if far is not None:
        return EncodeRequest(run, tuple(places), names, out, far.repeats, far)
    repeats = find_repeats(places, dedupe)
    return EncodeRequest(run, repeats.places, names, out, repeats)


def begin_encode(
    request: EncodeRequest, settings: "Encode", *, overwrite: bool = False, device: str = "auto"
) -> ImageEncoder:
    """Load the encoder; from here on the run's vectors are of it and of the request's images.

    Raises ModelError, StaleRunError.
    """
    encoder = load_encoder(settings, device)
    if request.run is not None:
        made_from = {
            "images": _fingerprint_of_images(request.run, request),
            "model": encoder.model,
            "precision": encoder.precision,
            **encoder.identity(),
        }
        own = request.given is None
        begin_vectors(request.run, made_from, own=own, overwrite=overwrite)
    return encoder


def finish_encode(
    request: EncodeRequest,
    recipe: "Recipe",
    before: Encoded,
    *,
    started: float | None = None,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode what is not yet encoded, reduce it all, and report; `begin_encode` was called.

    `before` is what was encoded until now, `started` when that began (by time.monotonic; None: as many
    seconds ago as it took). A `progress` that is at work already goes on. Raises as `encode` does.
    """
    started = time.monotonic() - before.seconds if started is None else started
    settings, encoder, places = recipe.encode, before.encoder, request.sources()
    wanted = None if request.given is not None or request.run is None else recipe.filter.top
    with _vectors_folder(request.run) as folder:
        encoded = _encode_rest(request, folder, encoder, settings, progress)
        reduced = _reduce(request, folder, encoder, recipe, wanted)
    if settings.discard_images and not count_gone(encoded.counts.failed):
        discard_images(place.path for place in places)
    choice = None if reduced.choice is None else reduced.choice.as_dict()
    made_of = _made_of(request, recipe.source.data, encoder, settings, encoded.counts)
    if choice is not None:
        made_of |= {"choice": choice, "images": {**made_of["images"], "used": choice["chosen"]}}
    made = provenance(RecipeIdentity.of(recipe), made_of, reduced.checks)
    report = EncodeReport(
        **encoded.counts.as_dict(),
        **facts_of(encoder),
        reduction=settings.reduce,
        checks=reduced.checks,
        words=reduced.about.words,
        groups=reduced.about.groups,
        embedding=save_embedding(reduced.vector, made, request.run, request.out),
        seconds=round(time.monotonic() - started, 3),
        encoded_now=encoded.encoded_now + before.encoded_now,
        encoding_seconds=round(encoded.seconds + before.seconds, 3),
        discarded=settings.discard_images,
        repeated=request.repeats.count if request.repeats else 0,
        repeats_left_out=bool(request.repeats and request.repeats.left_out),
        baseline_dropped=reduced.baseline_dropped,
        choice=choice,
    )
    report = report.recorded(request.run)
    if request.run is not None:
        drop_earlier(request.run.vectors)
    require_all_there(request.run, report.failed, report.images)
    return report


def _require_sense(run: RunDir | None, out: Path | None, *, discards: bool, given: bool) -> None:
    """Raise UsageError for a request that cannot be meant."""
    require_target(run, out)
    if out is not None and (out.suffix != ".pt" or out.is_dir()):
        raise UsageError(f"--out names the file of the embedding, NAME.pt; {out} is none")
    if discards and (given or run is None or run.made_from("download") is None):
        raise UsageError("--discard-images is for pictures that `visunex-data download` can fetch again")


def _fingerprint_of_images(run: RunDir, request: EncodeRequest) -> str:
    """What the images are: those of the run's download, else files of these names, sizes and times."""
    own = run.identity("download") if request.given is None else None
    own = own or listing(request.sources())
    return own if request.elsewhere is None else fingerprint([own, *request.elsewhere.identity])


@contextlib.contextmanager
def _vectors_folder(run: RunDir | None) -> Iterator[Path]:
    """The run's folder for vectors; without a run one that is gone at the end."""
    if run is not None:
        yield run.vectors
        return
    with tempfile.TemporaryDirectory(prefix="visunex-") as folder:
        yield Path(folder)


def _encode_rest(
    request: EncodeRequest,
    folder: Path,
    encoder: ImageEncoder,
    settings: "Encode",
    progress: Progress | None,
) -> Encoded:
    """Bring the vectors up to date. A `progress` that is at work already goes on and is not ended."""
    began = time.monotonic()
    total = None if request.elsewhere else count_chosen(request.sources())
    if progress is not None:
        progress.total = None if total is None else total + progress.done
    with contextlib.nullcontext(progress) if progress is not None else Progress("encode", total) as shown:
        work, far = partial(encode_lots, request.lots(), folder, encoder, settings, shown), request.elsewhere
        counts, encoded_now = work() if far is None else far.once(request.run, work)
    require_some(counts, request.names or [str(place.path) for place in request.sources()])
    return Encoded(encoder, counts, encoded_now, time.monotonic() - began)


def _reduce(
    request: EncodeRequest, folder: Path, encoder: ImageEncoder, recipe: "Recipe", wanted: int | None
) -> _Reduced:
    settings, vectors = recipe.encode, read_vectors(folder)
    baseline = _baseline(folder, encoder, settings)
    choice = _choice(request, vectors, encoder, recipe, wanted)
    vectors = vectors if choice is None else choice.vectors
    vector = reduce_folder(vectors, settings.reduce, baseline)
    model = {"name": encoder.model, "pretrained": encoder.pretrained, "weights": encoder.weights}
    reference = recipe.reference
    checks = check(vector, vectors, settings.reduce, reference, baseline=baseline, wanted=wanted, model=model)
    dropped = tuple(baseline.dropped) if baseline is not None else ()
    said = about(vector, vectors, encoder, request.run.groups if request.run else None)
    return _Reduced(vector, checks, said, dropped, choice)


def _choice(
    request: EncodeRequest, vectors: VectorFolder, encoder: ImageEncoder, recipe: "Recipe", wanted: int | None
) -> Choice | None:
    """Which images count by their own vectors, where that is asked for; the run notes it."""
    run, asked = request.run, recipe.filter
    if wanted is None:  # of images that were named all count but the copies
        asked = Filter(dedupe_vectors=asked.dedupe_vectors)
    elif run is None or not chooses_after_encode(run, recipe):
        asked = Filter()
    if not asked.on_vectors:
        if run is not None:
            run.choice.unlink(missing_ok=True)
        return None
    choice = choose(vectors, asked, wanted, (encoder.model, encoder.pretrained))
    if run is not None:
        choice.write(run.choice)
    if not len(choice.vectors):
        raise EncodeError(f"no picture is left by what its vector tells: {choice.in_words()}")
    return choice


def _baseline(folder: Path, encoder: ImageEncoder, settings: "Encode") -> VectorFolder | None:
    """The vectors that a contrast stands against: those there are at the place, else made of its images."""
    if settings.baseline is None:
        return None
    place = baseline_place(settings.baseline)
    if (vectors := encoded_baseline(place, encoder)) is not None:
        return vectors
    places, own = sources([place]), folder / "baseline"
    begin_baseline(own, listing(places))
    with Progress("encode the baseline", count_chosen(places)) as shown:
        counts, _ = encode_vectors(places, own, encoder, settings, shown)
    require_some(counts, [str(place.path) for place in places])
    return read_vectors(own)


def _made_of(
    request: EncodeRequest, source: str, encoder: ImageEncoder, settings: "Encode", counts: OutcomeCounts
) -> dict[str, Any]:
    """What `embedding.json` says that the embedding was made of."""
    names = list(request.names)
    return {
        "source": None if names else source,
        **origin_of(None if names else request.run),
        "pictures": names or None,
        "model": provenance_of(encoder),
        "reduction": settings.reduce,
        "baseline": settings.baseline,
        "images": {"used": counts.encoded, "failed": dict(counts.failed.most_common())},
    }
