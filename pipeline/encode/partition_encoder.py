"""Partitions of images -> parts of vectors, resumable one by one, with every image counted.

Of several encoders each has a folder of parts of its own; an image is read and decoded once for all.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visunex.base.machine import cores
from visunex.base.progress import NoProgress, ProgressLike
from visunex.clip.image_encoder import ImageEncoder

from ..errors import EncodeError
from ..shards.samples import Partition, Sample, Source, partitions
from ..vectors.store import Part, part_paths, provenance_if_whole, read_provenance, remove_parts_but
from ..workers.executor import LOCAL, Executor
from .counts import OutcomeCounts, count_missing_shards
from .decoding.batching import Round, Taker, rounds
from .decoding.cpu_split import CpuSplitter
from .decoding.decode_pool import Decoders, Ways
from .encoders import Target, shares_memory
from .multi_device import ALONE, ROUNDS, DeviceWorkers, Rank, Remaining
from .reports import FROM_SHARD
from .resume import (
    EarlierVectors,
    ImageKey,
    Results,
    Vector,
    image_key,
    part_fingerprint,
    read_results,
    write_results,
)

if TYPE_CHECKING:
    from visunex.recipes.schema import Encode

__all__ = ["PartitionEncoder", "default_batch_size", "encode_lots", "encode_vectors"]

# Images that a CPU encodes at once at least: of fewer, the libraries below torch sum products in another
# order, and the last bits of a vector would depend on how many others it was encoded with.
_LEAST = 8
_Lots: TypeAlias = Iterable[Sequence[Source]]


def encode_vectors(
    places: Sequence[Source], folder: Path, encoder: ImageEncoder, settings: "Encode", progress: ProgressLike
) -> tuple[OutcomeCounts, int]:
    """Write the vectors of all images to `folder`, a part for each partition; what is there stays.

    Returns what became of all images, and how many were encoded now.
    """
    (counts,), now = encode_lots([places], [Target(encoder, folder, settings)], progress)
    return counts, now


def encode_lots(
    lots: _Lots, targets: Sequence[Target], progress: ProgressLike, executor: Executor = LOCAL
) -> tuple[list[OutcomeCounts], int]:
    """The same of one lot of places after another, by several encoders, each into a folder of its own.

    The images of one lot may be gone when the next is asked for. Returns the counts of each encoder, and how
    many images were encoded now.
    """
    counts, encoded_now = [OutcomeCounts() for _ in targets], 0
    with PartitionEncoder(targets, 1 + len(targets[0].encoder.others)) as parts, shares_memory(len(targets)):
        for places in lots:
            parts.first = parts.next_number
            encoded_now += _encode_lot(parts, places, counts, progress, executor)
            for each in counts:
                count_missing_shards(each, places)
    parts.remove_others()
    for each in counts:
        each.left_out = counts[0].left_out  # before there is any encoder
    return counts, encoded_now


def _encode_lot(
    parts: "PartitionEncoder",
    places: Sequence[Source],
    counts: Sequence[OutcomeCounts],
    progress: ProgressLike,
    executor: Executor,
) -> int:
    """Bring the parts of some places up to date, on all devices; how many images were encoded."""
    encoded_now, uncounted = 0, [OutcomeCounts() for _ in counts]
    others, helps = executor.encoders(parts.targets[0].encoder.others)
    for _ in others and range(1 if helps else ROUNDS):
        if parts.missing(places) <= parts.batch:  # not worth loading the encoders
            break
        with DeviceWorkers(places, parts.targets, progress, parts.first, executor) as workers:
            own = parts.encode(places, uncounted, progress, workers.own_rank) if workers.helps else 0
            encoded_now += own + workers.wait()
        progress = Remaining(progress)
    encoded_now += parts.encode(places, counts, progress)
    damaged = counts[0].left_out.damaged
    for each in places:
        if each.address is not None and str(each.path) in damaged:
            damaged[each.address] = damaged.pop(str(each.path))
    return encoded_now


@dataclass(frozen=True, eq=False)
class _PartState:
    """How far a part is: the `results` of an earlier call, and the images that are still `missing`.

    `made_from` is its fingerprint; `provenance` its own where it is up to date already.
    """

    part: Part
    partition: Partition
    made_from: str
    provenance: dict[str, Any] | None
    results: Results
    missing: tuple[Sample, ...]

    @cached_property
    def _keys(self) -> frozenset[ImageKey]:
        return frozenset(map(image_key, self.missing))

    def lacks(self, image: Sample) -> bool:
        """Whether this image is one of those that are missing."""
        return image_key(image) in self._keys


@dataclass(frozen=True, eq=False)
class _Work:
    """A partition's parts with `images` still to encode: by the encoder's place, how far the part is."""

    states: dict[int, _PartState]
    images: tuple[Sample, ...]


class PartitionEncoder:
    """Encoders and their decoders at work on folders of vectors, for one call of `encode` after another.

    Each of the `targets` has a folder. Where no shard's number says it, a part is written as number `first`
    and so on; `batch` images are encoded at once. Of `processes` that are at work on this machine it takes
    its part of the cores. All encoders are on one device.
    """

    def __init__(self, targets: Sequence[Target], processes: int = 1) -> None:
        self.targets = tuple(targets)
        settings, device = self.targets[0].settings, self.targets[0].encoder.device
        self._least = _LEAST if device == "cpu" else 1
        self.batch = max(settings.batch_size or default_batch_size(device), self._least)
        pixels = [each.encoder.preprocessing.pixels_alone for each in self.targets]
        hows = list(dict.fromkeys(pixels))
        self._ways = [hows.index(each) for each in pixels]
        fixed, two_batches, own_cores = settings.workers, 2 * self.batch, max(1, cores() // processes)
        self._decoders = (
            Decoders(hows, 1 if device == "cpu" else min(4, own_cores), two_batches, most=own_cores)
            if fixed is None
            else Decoders(hows, fixed, two_batches)
        )
        self._splitter = CpuSplitter(self._decoders, device, own_cores) if fixed is None else None
        self._earlier = [EarlierVectors(each.folder, each.encoder) for each in self.targets]
        self._numbers: list[set[int]] = [set() for _ in self.targets]
        self.first = 0

    def __enter__(self) -> Self:
        self._decoders.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._decoders.__exit__(*error)
        if self._splitter is not None:
            self._splitter.put_back()

    @property
    def numbers(self) -> set[int]:
        """The numbers of the parts that are up to date, in the folders of all encoders."""
        return set.intersection(*self._numbers)

    @property
    def next_number(self) -> int:
        """The number after those of all parts that are up to date."""
        return max((number for numbers in self._numbers for number in numbers), default=-1) + 1

    def remove_others(self) -> None:
        """Remove all parts that are not up to date: of images that are no longer there."""
        for target, numbers in zip(self.targets, self._numbers, strict=True):
            remove_parts_but(target.folder, numbers)

    def missing(self, places: Iterable[Source]) -> int:
        """How many images of `places` have still to be encoded, by any of the encoders."""
        counts = [OutcomeCounts() for _ in self.targets]
        return sum(len(work.images) for work in self._unfinished(places, counts, NoProgress(), ALONE))

    def encode(
        self,
        places: Iterable[Source],
        counts: Sequence[OutcomeCounts],
        progress: ProgressLike,
        rank: Rank = ALONE,
    ) -> int:
        """Bring the parts of `places` up to date and count them for each encoder; how many were encoded.

        Of the parts only those that the `rank` takes. An image whose vector is in its part already is not
        encoded again; one that is no longer wanted leaves its part. Nothing is said of a partition before all
        encoders have written theirs.
        """
        unfinished = self._unfinished(places, counts, progress, rank)
        decoded = self._decoders.decode(
            (image, self._ways_of(image, work), work) for work in unfinished for image in work.images
        )
        encoded_now = 0
        for first, work in decoded:
            rest = (each for each, _ in itertools.islice(decoded, len(work.images) - 1))
            found = self._encode_images(itertools.chain([first], rest), work, progress)
            for place, state in work.states.items():
                counts[place].add(self._write(place, state, found[place]))
            kept = [{key for key, it in each.items() if isinstance(it, Vector)} for each in found.values()]
            encoded_now += len(set.union(*kept))
        return encoded_now

    def _ways_of(self, image: Sample, work: _Work) -> tuple[int, ...]:
        """In which ways an image is to be decoded: for the encoders that have no vector of it."""
        return tuple({self._ways[place]: None for place, state in work.states.items() if state.lacks(image)})

    def _unfinished(
        self, places: Iterable[Source], counts: Sequence[OutcomeCounts], progress: ProgressLike, rank: Rank
    ) -> Iterator[_Work]:
        """The parts with images still to encode; the others are written and counted on the way."""
        found = _numbered(partitions(places, counts[0].left_out), self.first)
        for index, (number, partition) in enumerate(found):
            if not rank.takes(index):
                continue
            states = {}
            for place, outcomes in enumerate(counts):
                if partition.missing:
                    outcomes.add_failed(FROM_SHARD, partition.missing)
                if (state := self._unfinished_part(place, number, partition, outcomes)) is not None:
                    states[place] = state
            images = [
                each for each in partition.samples if any(state.lacks(each) for state in states.values())
            ]
            progress.skip(len(partition.samples) - len(images))
            if images:
                yield _Work(states, tuple(images))

    def _unfinished_part(
        self, place: int, number: int, partition: Partition, counts: OutcomeCounts
    ) -> _PartState | None:
        """How far an encoder's part is; None where it is up to date, and counted, or has nothing in it."""
        part = part_paths(self.targets[place].folder, number)
        present = self._without_lost(place, part, partition, counts) if partition.discarded else partition
        if not present.samples:
            return None
        self._numbers[place].add(number)
        state = self._state(place, part, present)
        if state.missing:
            return state
        counts.add(state.provenance or self._write(place, state, {}))
        return None

    def _without_lost(self, place: int, part: Part, partition: Partition, counts: OutcomeCounts) -> Partition:
        """A partition whose images were discarded, without those of which there is no vector either."""
        if read_provenance(part) is not None and provenance_if_whole(part) is None:
            raise EncodeError(
                f"{part.vectors} is damaged, and its pictures were discarded when they had their vectors; "
                "fetch them again with `visunex-data download --overwrite`"
            )
        results = read_results(part, partition.samples, self.targets[place].encoder)
        lost = [each.where for each in partition.samples if image_key(each) not in results]
        if lost:
            counts.add_failed("discarded", lost)
        kept = tuple(each for each in partition.samples if image_key(each) in results)
        return replace(partition, samples=kept)

    def _state(self, place: int, part: Part, partition: Partition) -> _PartState:
        encoder = self.targets[place].encoder
        made_from, provenance = part_fingerprint(partition, encoder), provenance_if_whole(part)
        if provenance is not None and provenance.get("stamp") == made_from:
            return _PartState(part, partition, made_from, provenance, {}, ())
        results = {
            **self._earlier[place].of(partition.samples),
            **read_results(part, partition.samples, encoder),
        }
        missing = tuple(each for each in partition.samples if image_key(each) not in results)
        return _PartState(part, partition, made_from, None, results, missing)

    def _encode_images(
        self, decoded: Iterable[Ways], work: _Work, progress: ProgressLike
    ) -> dict[int, dict[ImageKey, Vector | str]]:
        """What comes of each missing image, by the encoder's place; encoded in batches."""
        found: dict[int, dict[ImageKey, Vector | str]] = {place: {} for place in work.states}
        encoders = {place: self.targets[place].encoder for place in work.states}
        # Kept as they come, vectors lie between a batch's large blocks, which the heap then cannot use again.
        rooms = {
            place: iter(np.empty((len(state.missing), encoders[place].dimension), np.float32))
            for place, state in work.states.items()
        }
        takers = [
            Taker(state.lacks, self._ways[place], encoders[place].stage)
            for place, state in work.states.items()
        ]
        for each in rounds(decoded, len(work.images), self.batch, takers, self._least):
            rows = self._vectors(each, list(encoders.values()))
            for place, batch, mine in zip(encoders, each.batches, rows, strict=True):
                found[place].update({image_key(sample): reason for sample, reason in batch.failed})
                vectors = map(_vector, mine[: len(batch.samples)], rooms[place])
                found[place].update(zip(map(image_key, batch.samples), vectors, strict=True))
            progress.advance(each.images)
        return found

    def _vectors(self, images: Round, encoders: Sequence[ImageEncoder]) -> list[NDArray[np.float32]]:
        """What the encoders give for their batches of a round."""

        def work() -> list[NDArray[np.float32]]:
            return [
                np.zeros((0, encoder.dimension), np.float32)
                if batch.staged is None
                else encoder.vectors(batch.staged)
                for encoder, batch in zip(encoders, images.batches, strict=True)
            ]

        count = max(len(batch.samples) for batch in images.batches)
        return self._splitter.timed(count, work) if self._splitter and count else work()

    def _write(self, place: int, state: _PartState, found: Results) -> dict[str, Any]:
        """Write a part of what an earlier call and this one found; its provenance."""
        results, encoder = {**state.results, **found}, self.targets[place].encoder
        return write_results(state.part, state.partition.samples, results, encoder, state.made_from)


def _numbered(found: Iterable[Partition], number: int) -> Iterator[tuple[int, Partition]]:
    """Each partition and the number of its part: its shard's, else the next one from `number` on."""
    for each in found:
        yield number if each.shard is None else each.shard, each
        number += bool(each.samples)


def _vector(row: NDArray[np.float32], room: NDArray[np.float32]) -> Vector | str:
    """A row of a batch, copied into its room among those of the partition."""
    room[:] = row
    length = float(np.linalg.norm(row.astype(np.float64)))
    return Vector(room, length) if np.isfinite(length) and length else "no_vector"


def default_batch_size(device: str) -> int:
    """Images per step: enough to fill the device; on a CPU no more than its cache holds of them."""
    return max(_LEAST, min(64, 4 * cores())) if device == "cpu" else 256
