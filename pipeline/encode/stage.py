"""The stage encode: images -> vectors on disk -> one aesthetic embedding; one for each of several encoders.

`encode` does it all. Where images are encoded while others are still downloaded, `begin_encode` comes before
that and `finish_encode` after it.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.aesthetic_embeddings.reduction import BY_SCORES
from visunex.base.errors import UsageError
from visunex.base.progress import Progress
from visunex.clip.image_encoder import ImageEncoder

from ..chain import require_download
from ..errors import StaleRunError
from ..reduce.embedding import RecipeIdentity, provenance, require_target, save_embedding
from ..rundir import RunDir
from ..score.ratings import Ratings
from ..shards.discard import discard_images, discarded_tars
from ..shards.repeats import find_repeats
from ..shards.samples import Source, sources
from ..workers.executor import LOCAL, Done, Executor, executor_of
from .counts import OutcomeCounts, count_chosen, require_some
from .elsewhere import elsewhere
from .encoders import Target, load_encoder, load_encoders
from .partition_encoder import encode_lots
from .reduced import Reduced, reduce_each
from .reports import EncodeReport, count_gone, facts_of, origin_of, provenance_of, require_all_there
from .request import EncodeRequest
from .resume import begin_vectors, drop_earlier

if TYPE_CHECKING:
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Encode

__all__ = ["EncodeReport", "EncodeRequest", "Encoded", "begin_encode", "encode", "encode_to", "finish_encode"]


@dataclass(frozen=True)
class Encoded:
    """Images that were encoded: by which encoders, what became of them for each, and the seconds it took.

    `nodes`: of those of a cluster, what each did.
    """

    encoders: tuple[ImageEncoder, ...]
    counts: tuple[OutcomeCounts, ...] = ()
    encoded_now: int = 0
    seconds: float = 0.0
    nodes: Done = field(default_factory=dict)


def encode(
    run: RunDir | None,
    recipe: "Recipe",
    *,
    images: Sequence[str | Path] | Ratings = (),
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> EncodeReport:
    """Encode the images of a run, or those in `images`, and reduce them to one embedding.

    `images` are shards, tars, images' files, folders, run folders, addresses or sets on the Hub. With a `run`
    (whose lock the caller holds) the vectors are kept in `run.vectors`, and a call after an interrupted one
    goes on by partitions; without, only the embedding at `out` is. What cannot be decoded is counted.
    Ratings are images' files, with the score of each.

    The encoders of `encode.also` have vectors and an embedding each, beside these and named by their spaces.
    Raises EncodeError (nothing to encode, nothing decodable, a decoder that died; chosen images that are
    gone, the others being encoded), ModelError, EmbeddingError, StaleRunError, UsageError.
    """
    started = time.monotonic()
    if isinstance(images, Ratings):
        _require_scores(recipe, images)
    _require_sense(run, out, discards=recipe.encode.discard_images, given=bool(images))
    if run is not None and not images:
        require_download(run, recipe)
    request = _request_for(images, run, recipe, out) if images else EncodeRequest(run, out=out)
    request.sources()  # where there is nothing to encode, no encoder need be loaded
    encoders = begin_encode(request, recipe.encode, overwrite=overwrite, device=device)
    return finish_encode(request, recipe, Encoded(encoders), started=started)


def _require_scores(recipe: "Recipe", ratings: Ratings) -> None:
    """Raise UsageError where ratings would mean nothing, before anything is encoded."""
    if recipe.encode.reduce not in BY_SCORES:
        raise UsageError(
            f"--reduce {recipe.encode.reduce} knows no scores; with --ratings it is {' or '.join(BY_SCORES)}"
        )
    if recipe.encode.reduce == "score-contrast" and len(set(ratings.scores.values())) == 1:
        raise UsageError(
            f"{ratings.path}: all are equal in score, so that no picture is liked more than another; score "
            "some lower, or give the pictures to --images"
        )


def encode_to(
    folder: Path, images: Sequence[str | Path], recipe: "Recipe", device: str = "auto"
) -> OutcomeCounts:
    """Write the vectors of `images`, places as `encode` takes them, to a folder, and make no embedding.

    Raises EncodeError, ModelError.
    """
    request = _request_for(images, None, recipe, None)
    request.sources()  # where there is nothing to encode, no encoder need be loaded
    target = Target(load_encoder(recipe.encode, device), folder, recipe.encode)
    return _encode_rest(request, [target], None, recipe).counts[0]


def _request_for(
    images: Sequence[str | Path] | Ratings, run: RunDir | None, recipe: "Recipe", out: Path | None
) -> EncodeRequest:
    """The request for images that the user names."""
    column, dedupe = recipe.source.columns.image, recipe.encode.dedupe_images
    if isinstance(images, Ratings):
        repeats = find_repeats(
            [Source(path, "image", score=each) for path, each in images.scores.items()], dedupe
        )
        return EncodeRequest(
            run, repeats.places, tuple(map(str, images.scores)), out, repeats, ratings=images
        )
    here, far = elsewhere(images, column, recipe.download.max_remote_bytes, dedupe)
    places, names = sources(here, column), tuple(map(str, images))
    if far is not None:
        return EncodeRequest(run, tuple(places), names, out, far.repeats, far)
    repeats = find_repeats(places, dedupe)
    return EncodeRequest(run, repeats.places, names, out, repeats)


def begin_encode(
    request: EncodeRequest, settings: "Encode", *, overwrite: bool = False, device: str = "auto"
) -> tuple[ImageEncoder, ...]:
    """Load the encoders; from here on the run's vectors are of them and of the request's images.

    Raises ModelError, StaleRunError; DeviceMemoryError where the encoders do not all fit into the device.
    """
    encoders = load_encoders(settings, device)
    if request.run is not None:
        images, own = request.identity(request.run), request.given is None
        for encoder, space in zip(encoders, _spaces(settings), strict=True):
            run = request.run.of_encoder(space)
            _require_images(run, encoder)
            made_from = {
                "images": images,
                "model": encoder.model,
                "precision": encoder.precision,
                **encoder.identity(),
            }
            begin_vectors(run, made_from, own=own, overwrite=overwrite)
    return encoders


def _spaces(settings: "Encode") -> list[str]:
    """What files call each encoder: the first has no name in them."""
    return ["", *(each.space for each in settings.others)]


def _require_images(run: RunDir, encoder: ImageEncoder) -> None:
    """Raise StaleRunError where a further encoder comes when the run's pictures are gone."""
    if run.space and not run.vectors.exists() and discarded_tars(run.shards):
        raise StaleRunError(
            f"the pictures of {run.path} were discarded when they had their vectors, so there are none for "
            f"{encoder.model}; `visunex-data download --overwrite` fetches them again, without its --also "
            "encode goes on"
        )


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
    settings, places = recipe.encode, request.sources()
    wanted = None if request.given is not None or request.run is None else recipe.filter.top
    spaces = _spaces(settings)
    with request.vectors_folders(spaces) as folders:
        targets = list(map(Target, before.encoders, folders, settings.of_each, spaces))
        encoded = _encode_rest(request, targets, progress, recipe)
        reduced = reduce_each(request, targets, recipe, wanted)
    encoded = replace(
        encoded,
        encoded_now=encoded.encoded_now + before.encoded_now,
        seconds=round(encoded.seconds + before.seconds, 3),
    )
    if settings.discard_images and not any(count_gone(each.failed) for each in encoded.counts):
        discard_images(place.path for place in places)
    own, *others = (
        _finished(request.of_encoder(space), recipe, encoded, place, reduced[place], started)
        for place, space in enumerate(spaces)
    )
    report = replace(own, also=tuple(others)).recorded(request.run)
    if request.run is not None:
        for encoder, space in zip(before.encoders, spaces, strict=True):
            drop_earlier(request.run.of_encoder(space).vectors, encoder)
    require_all_there(request.run, report.failed, report.images)
    return report


def _finished(
    request: EncodeRequest, recipe: "Recipe", encoded: Encoded, place: int, reduced: Reduced, started: float
) -> EncodeReport:
    """Save the embedding of one of the encoders; what is reported of it."""
    settings, encoder, counts = recipe.encode, encoded.encoders[place], encoded.counts[place]
    choice = None if reduced.choice is None else reduced.choice.as_dict()
    made_of = _made_of(request, recipe.source.data, encoder, settings, counts)
    if choice is not None:
        made_of |= {"choice": choice, "images": {**made_of["images"], "used": reduced.used}}
    if settings.hold_out and reduced.choice is not None:
        made_of |= {"held_out": {"share": settings.hold_out, "keys": reduced.choice.held_out}}
    made = provenance(RecipeIdentity.of(recipe), made_of, reduced.checks)
    return EncodeReport(
        **counts.as_dict(),
        **facts_of(encoder),
        reduction=settings.reduce,
        checks=reduced.checks,
        words=reduced.about.words,
        groups=reduced.about.groups,
        embedding=save_embedding(reduced.vector, made, request.run, request.out),
        seconds=round(time.monotonic() - started, 3),
        encoded_now=encoded.encoded_now,
        encoding_seconds=encoded.seconds,
        discarded=settings.discard_images,
        repeated=request.repeats.count if request.repeats else 0,
        repeats_left_out=bool(request.repeats and request.repeats.left_out),
        baseline_dropped=reduced.baseline_dropped,
        choice=choice,
        nodes=encoded.nodes,
    )


def _require_sense(run: RunDir | None, out: Path | None, *, discards: bool, given: bool) -> None:
    """Raise UsageError for a request that cannot be meant."""
    require_target(run, out)
    if out is not None and (out.suffix != ".pt" or out.is_dir()):
        raise UsageError(f"--out names the file of the embedding, NAME.pt; {out} is none")
    if discards and (given or run is None or run.made_from("download") is None):
        raise UsageError("--discard-images is for pictures that `visunex-data download` can fetch again")


def _encode_rest(
    request: EncodeRequest, targets: Sequence[Target], progress: Progress | None, recipe: "Recipe"
) -> Encoded:
    """Bring the vectors up to date. A `progress` that is at work already goes on and is not ended."""
    began = time.monotonic()
    total = None if request.elsewhere else count_chosen(request.sources())
    if progress is not None:
        progress.total = None if total is None else total + progress.done
    run, far, executor = request.run, request.elsewhere, _executor(request, recipe)
    with contextlib.nullcontext(progress) if progress is not None else Progress("encode", total) as shown:
        work = partial(encode_lots, request.lots(), targets, shown, executor)
        runs = [] if run is None else [run.of_encoder(each.space) for each in targets]
        counts, encoded_now = work() if far is None else far.once(runs, work)
    for each in counts:
        require_some(each, request.names or [str(place.path) for place in request.sources()])
    encoders = tuple(target.encoder for target in targets)
    return Encoded(encoders, tuple(counts), encoded_now, time.monotonic() - began, executor.done)


def _executor(request: EncodeRequest, recipe: "Recipe") -> Executor:
    """What encodes; this machine where there is no run, and so no folder that others would see."""
    if request.run is None:
        return LOCAL
    executor = executor_of(recipe.engine)
    executor.require(request.run.path)
    return executor


def _made_of(
    request: EncodeRequest, source: str, encoder: ImageEncoder, settings: "Encode", counts: OutcomeCounts
) -> dict[str, Any]:
    """What `embedding.json` says that the embedding was made of."""
    names = list(request.names)
    return {
        "source": None if names else source,
        **origin_of(None if names else request.run),
        "pictures": names or None,
        **({} if request.ratings is None else {"ratings": request.ratings.as_dict()}),
        "model": provenance_of(encoder),
        "reduction": settings.reduce,
        "baseline": settings.baseline,
        "images": {"used": counts.encoded, "failed": dict(counts.failed.most_common())},
    }
