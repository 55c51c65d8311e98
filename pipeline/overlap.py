"""Encoding shards as they are finished, while later ones are still being fetched.

A shard counts as finished by its `_stats.json`, so a shard that an earlier call has made is nothing else than
one that was finished early. Which images are wanted is only known at the end: until then those are encoded
that are chosen so far, and at the end `finish_encode` brings the vectors up to date.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from visunex.base.progress import Progress
from visunex.clip.image_encoder import ImageEncoder

from .download.plan import Plan
from .download.results import Results
from .encode.counts import OutcomeCounts
from .encode.encoders import Target, shares_memory
from .encode.partition_encoder import PartitionEncoder
from .encode.stage import Encoded
from .shards.discard import discard_images
from .shards.made import is_made
from .shards.naming import TAR, shard_name, shard_number, tars_marked_done
from .shards.samples import Source
from .vectors.store import part_paths, read_provenance

if TYPE_CHECKING:
    from visunex.recipes import Encode

T = TypeVar("T")

_LOOK = 0.25  # seconds between two looks for finished shards
_STOP = 4.0  # seconds that a thread gets to end
_NEVER_WANTED = {"duplicate"}  # whatever the shards to come hold


@contextlib.contextmanager
def background_thread(work: Callable[[Event], T]) -> Iterator["Future[T]"]:
    """Do `work` in a thread beside the block, which is given its result to come.

    At the block's end the event that `work` was given is set, at which it has to stop.
    """
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


def encode_while_downloading(
    plan: Plan,
    settings: "Encode",
    encoders: tuple[ImageEncoder, ...],
    downloading: "Future[Any]",
    progress: Progress,
) -> Encoded:
    """Encode what is chosen so far of each shard that is finished, until the download is over.

    With `discard_images` a shard's images go once none can be wanted that has no vector. A shard that has a
    part already, of each encoder, is left to `finish_encode`, which knows what is wanted. Raises EncodeError.
    """
    runs = [plan.run, *(plan.run.of_encoder(each.space) for each in settings.others)]
    targets = [
        Target(encoder, run.vectors, own, run.space)
        for encoder, run, own in zip(encoders, runs, settings.of_each, strict=True)
    ]
    counts, encoded_now, seconds = [OutcomeCounts() for _ in targets], 0, 0.0
    finished = _FinishedShards(plan, [each.folder for each in targets])
    # A download that was finished before may make shards again, of the images that are in them.
    discards = settings.discard_images and not plan.run.downloaded.exists()
    with PartitionEncoder(targets) as parts, shares_memory(len(targets)):
        while not downloading.done():
            sources = finished.newly_finished()
            if not sources:
                wait([downloading], _LOOK)
                continue
            began = time.monotonic()
            encoded_now += parts.encode(_unless_failed(sources, downloading), counts, progress)
            seconds += time.monotonic() - began
            if discards:
                encoded = (source for source in sources if source.shard in parts.numbers)
                discard_images(source.path for source in encoded if finished.is_settled(source))
    return Encoded(encoders, tuple(counts), encoded_now, seconds)


def _unless_failed(sources: list[Source], downloading: "Future[Any]") -> Iterator[Source]:
    """The sources, until the download has failed: then the rest would be encoded in vain."""
    return itertools.takewhile(lambda _: not (downloading.done() and downloading.exception()), sources)


class _FinishedShards:
    """The shards of a run that are finished, and which of their images are chosen so far."""

    def __init__(self, plan: Plan, vectors: Sequence[Path]) -> None:
        self._plan, self._folder, self._vectors = plan, plan.run.shards, vectors
        self._results, self._statuses = Results(plan), dict[int, str]()

    def newly_finished(self) -> list[Source]:
        """The chosen images of shards that are seen for the first time and have no vectors yet."""
        numbers = (shard_number(tar.stem) for tar in tars_marked_done(self._folder))
        unseen = sorted({number for number in numbers if number is not None}.difference(self._results.shards))
        new = [shard for shard in unseen if is_made(self._folder, shard)]
        if new:
            self._results.read(new)
            self._statuses = self._results.statuses()
        sources = [self._source(shard) for shard in new if not self._has_vectors(shard)]
        return [source for source in sources if source.keys]

    def is_settled(self, source: Source) -> bool:
        """Whether no image of a shard but the chosen ones can be wanted in the end."""
        results = self._results.of(source.shard or 0)
        statuses = {self._statuses[result.rank] for result in results if result.downloaded}
        return statuses <= {"chosen", *_NEVER_WANTED}

    def _has_vectors(self, shard: int) -> bool:
        return all(read_provenance(part_paths(folder, shard)) is not None for folder in self._vectors)

    def _source(self, shard: int) -> Source:
        ranks = (result.rank for result in self._results.of(shard))
        chosen = [rank for rank in ranks if self._statuses.get(rank) == "chosen"]
        keys = frozenset(map(self._plan.candidates.key, chosen))
        return Source(self._folder / f"{shard_name(shard)}{TAR}", "tar", None, shard, keys)
