"""Encoding shards as they are finished, while later ones are still being fetched.

A shard counts as finished by its `_stats.json`, so a shard that an earlier call has made is nothing else than
one that was finished early. Which pictures are wanted is only known at the end: until then those are encoded
that are chosen so far, and at the end `finish_encode` brings the vectors up to date.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from visunex.base.progress import Progress
from visunex.clip.image_encoder import ImageEncoder

from .download.choose import Result, choose, is_made, read_shard
from .download.loop import Plan
from .encode.partition_encoder import OutcomeCounts, PartitionEncoder
from .encode.stage import Encoded
from .shards.discard import discard_images
from .shards.naming import TAR, shard_name, shard_number, tars_marked_done
from .shards.samples import Source
from .vectors.store import part_paths, read_provenance

if TYPE_CHECKING:
    from visunex.recipes import Encode

T = TypeVar("T")

_LOOK = 0.25  # seconds between two looks for finished shards
_STOP = 4.0  # seconds that a thread gets to end
_NEVER_WANTED = {"duplicate", "placeholder"}  # whatever the shards to come hold


@contextlib.contextmanager
def in_background(work: Callable[[Event], T]) -> Iterator["Future[T]"]:
    """Do `work` in a thread while the block runs. At its end the event that `work` was given is set: stop."""
    stopping, future = Event(), Future[T]()

    def job() -> None:
        try:
            future.set_result(work(stopping))
        except BaseException as error:
            future.set_exception(error)

    thread = Thread(target=job, daemon=True)
    thread.start()
    try:
        yield future
    finally:
        stopping.set()
        thread.join(_STOP)


def encode_finished(
    plan: Plan, settings: "Encode", encoder: ImageEncoder, downloading: "Future[Any]", progress: Progress
) -> Encoded:
    """Encode what is chosen so far of each shard that is finished, until the download is over.

    With `discard_images` a shard's pictures go once none can be wanted that has no vector. A shard that has a
    part already is left to `finish_encode`, which knows what is wanted. Raises EncodeError.
    """
    counts, encoded_now, seconds, finished = OutcomeCounts(), 0, 0.0, _Finished(plan)
    # A download that was finished before may make shards again, of the pictures that are in them.
    discards = settings.discard_images and not plan.run.downloaded.exists()
    with PartitionEncoder(encoder, settings, plan.run.vectors) as parts:
        while not downloading.done():
            places = finished.new()
            if not places:
                wait([downloading], _LOOK)
                continue
            began = time.monotonic()
            encoded_now += parts.encode(_unless_failed(places, downloading), counts, progress)
            seconds += time.monotonic() - began
            if discards:
                encoded = (place for place in places if place.shard in parts.numbers)
                discard_images(place.path for place in encoded if finished.is_done_with(place))
    return Encoded(encoder, counts, encoded_now, seconds)


def _unless_failed(places: list[Source], downloading: "Future[Any]") -> Iterator[Source]:
    return itertools.takewhile(lambda _: not (downloading.done() and downloading.exception()), places)


class _Finished:
    """The shards of a run that are finished, and which of their pictures are chosen so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._shards = plan, plan.run.shards
        self._results: dict[int, list[Result]] = {}
        self._classes: dict[int, str] = {}

    def new(self) -> list[Source]:
        """The chosen pictures of shards that are seen for the first time and have no vectors yet."""
        numbers = (shard_number(tar.stem) for tar in tars_marked_done(self._shards))
        unseen = sorted({number for number in numbers if number is not None} - self._results.keys())
        new = [shard for shard in unseen if is_made(self._shards, shard)]
        if new:
            self._results.update((shard, read_shard(self._shards, shard)) for shard in new)
            self._choose()
        places = [self._source(shard) for shard in new if not self._has_vectors(shard)]
        return [place for place in places if place.keys]

    def is_done_with(self, place: Source) -> bool:
        """Whether no picture of a shard but the chosen ones can be wanted in the end."""
        results = self._results[place.shard or 0]
        classes = {self._classes[result.rank] for result in results if result.had}
        return classes <= {"chosen", *_NEVER_WANTED}

    def _choose(self) -> None:
        settings = self._plan.settings
        results = [result for shard in sorted(self._results) for result in self._results[shard]]
        self._classes = choose(
            results,
            self._plan.target,
            settings.dedupe_images,
            keep_placeholders=settings.keep_placeholders,
        )

    def _has_vectors(self, shard: int) -> bool:
        return read_provenance(part_paths(self._plan.run.vectors, shard)) is not None

    def _source(self, shard: int) -> Source:
        chosen = [each.rank for each in self._results[shard] if self._classes.get(each.rank) == "chosen"]
        keys = frozenset(map(self._plan.candidates.key, chosen))
        return Source(self._shards / f"{shard_name(shard)}{TAR}", "tar", None, shard, keys)
