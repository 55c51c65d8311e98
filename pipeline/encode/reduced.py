"""The vectors that encoders wrote -> an embedding of each, over the same images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visunex.base.files import fingerprint
from visunex.base.progress import Progress
from visunex.clip.image_encoder import ImageEncoder
from visunex.recipes.schema import Filter

from ..chain import chooses_after_encode
from ..errors import EncodeError
from ..reduce.about import About, about
from ..reduce.checks import Checks, check
from ..reduce.embedding import reduce_folder
from ..score.choice import Choice, choose
from ..shards.samples import listing, sources
from ..vectors.store import VectorFolder, read_vectors
from .baseline import baseline_place, begin_baseline, encoded_baseline
from .counts import count_chosen, require_some
from .elsewhere import elsewhere
from .encoders import Target
from .partition_encoder import encode_lots
from .request import EncodeRequest

if TYPE_CHECKING:
    from visunex.recipes import Recipe

__all__ = ["Reduced", "reduce_each"]


@dataclass(frozen=True)
class Reduced:
    """The vectors of `used` images as one float32 [1, D], what was checked of it, and what it is about."""

    vector: NDArray[np.float32]
    used: int
    checks: Checks
    about: About
    baseline_dropped: tuple[str, ...] = ()
    choice: Choice | None = None


def reduce_each(
    request: EncodeRequest, targets: Sequence[Target], recipe: "Recipe", wanted: int | None
) -> list[Reduced]:
    """Reduce the vectors of each encoder to one; which images count the first one's vectors tell.

    Raises EncodeError.
    """
    own, *others = (read_vectors(each.folder) for each in targets)
    baselines = _baselines(targets, recipe)
    choice = _choice(request, own, targets[0].encoder, recipe, wanted)
    chosen = [own, *others] if choice is None else [choice.vectors, *map(choice.of, others)]
    return [
        _reduce(request, target, vectors, baseline, recipe, wanted, choice)
        for target, vectors, baseline in zip(targets, chosen, baselines, strict=True)
    ]


def _reduce(
    request: EncodeRequest,
    target: Target,
    vectors: VectorFolder,
    baseline: VectorFolder | None,
    recipe: "Recipe",
    wanted: int | None,
    choice: Choice | None,
) -> Reduced:
    encoder, how = target.encoder, recipe.encode.reduce
    if not len(vectors):
        raise EncodeError(f"no chosen picture could be encoded with {encoder.model}")
    vector = reduce_folder(vectors, how, baseline)
    model = {"name": encoder.model, "pretrained": encoder.pretrained, "weights": encoder.weights}
    reference = None if target.space else recipe.reference  # which is of the recipe's own encoder
    checks = check(vector, vectors, how, reference, baseline=baseline, wanted=wanted, model=model)
    groups = request.run.groups if request.run else None
    # Words take a text encoder, and groups are of the images, which are the same.
    said = About(()) if target.space else about(vector, vectors, encoder, groups)
    dropped = tuple(baseline.dropped) if baseline is not None else ()
    return Reduced(vector, len(vectors), checks, said, dropped, choice)


def _choice(
    request: EncodeRequest, vectors: VectorFolder, encoder: ImageEncoder, recipe: "Recipe", wanted: int | None
) -> Choice | None:
    """Which images count by their own vectors, where that is asked for; the run notes it."""
    run, asked, hold_out = request.run, recipe.filter, recipe.encode.hold_out
    if wanted is None:  # of images that were named all count but the copies
        asked = Filter(dedupe_vectors=asked.dedupe_vectors)
    elif run is None or not chooses_after_encode(run, recipe):
        asked = Filter()
    if not asked.on_vectors and not hold_out:
        if run is not None:
            run.choice.unlink(missing_ok=True)
        return None
    choice = choose(vectors, asked, wanted, (encoder.model, encoder.pretrained), hold_out)
    if run is not None:
        choice.write(run.choice)
    if not len(choice.vectors):
        raise EncodeError(f"no picture is left by what its vector tells: {choice.in_words()}")
    return choice


def _baselines(targets: Sequence[Target], recipe: "Recipe") -> list[VectorFolder | None]:
    """For each encoder the vectors that a contrast stands against.

    Those there are at the baseline's place; of encoders that have none there they are made of its images.
    """
    if recipe.encode.baseline is None:
        return [None] * len(targets)
    place = baseline_place(recipe.encode.baseline)
    found = [encoded_baseline(place, each.encoder, each.space) for each in targets]
    own = [replace(each, folder=each.folder / "baseline") for each in targets]
    if left := [each for each, there in zip(own, found, strict=True) if there is None]:
        _encode_baseline(place, left, recipe.download.max_remote_bytes)
    return [
        read_vectors(each.folder) if there is None else there for each, there in zip(own, found, strict=True)
    ]


def _encode_baseline(place: str | Path, targets: Sequence[Target], most: str) -> None:
    """Have the vectors of the images at a place, which may be an address, in the targets' folders."""
    here, far = elsewhere([place], None, most, "none") if isinstance(place, str) else ([place], None)
    places = sources(here)
    identity = listing(places) if far is None else fingerprint(far.identity)
    for each in targets:
        begin_baseline(each.folder, identity)
    with Progress("encode the baseline", count_chosen(places) if far is None else None) as shown:
        lots = [places] if far is None else far.lots(None, places)
        counts, _ = encode_lots(lots, targets, shown)
    for outcomes in counts:
        require_some(outcomes, [str(place)])
