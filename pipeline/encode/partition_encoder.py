"""Partitions of images -> parts of vectors, resumable one by one, with every image counted."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from visunex.base.machine import cores
from visunex.base.progress import NoProgress, ProgressLike
from visunex.clip.factory import load_image_encoder
from visunex.clip.image_encoder import ImageEncoder

from ..errors import EncodeError
from ..shards.members import LeftOut
from ..shards.samples import Partition, Sample, Source, partitions
from ..shards.sidecar import chosen_count
from ..vectors.store import Part, part_paths, provenance_if_whole, read_provenance, remove_parts_but
from .batching import batches
from .cpu_split import CpuSplitter
from .decode_pool import Decoded, Decoders
from .multi_device import ALONE, DeviceWorkers, Rank, Remaining
from .reports import FROM_SHARD, SHARD
from .resume import (
    MOST_EXAMPLES,
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

__all__ = [
    "OutcomeCounts",
    "PartitionEncoder",
    "count_chosen",
    "default_batch_size",
    "encode_lots",
    "encode_vectors",
    "load_encoder",
    "require_some",
]


# Images that a CPU encodes at once at least: of fewer, the libraries below torch sum products in another
# order, and the last bits of a vector would depend on how many others it was encoded with.
_LEAST = 8


@dataclass
class OutcomeCounts:
    """What became of images: `images` = `encoded` + the sum of `failed`.

    `examples` names some images for each reason; `left_out` counts what was no image to begin with.
    """

    images: int = 0
    encoded: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def as_dict(self) -> dict[str, Any]:
        """The counts for a report, the commonest reason first."""
        return {
            "images": self.images,
            "encoded": self.encoded,
            "failed": dict(self.failed.most_common()),
            "examples": self.examples,
            "left_out": dict(self.left_out.members),
            "damaged": self.left_out.damaged,
        }

    def add(self, part: Mapping[str, Any]) -> None:
        """Count a finished part by its provenance."""
        self.images += part["images"]
        self.encoded += part["images"] - sum(part["failed"].values())
        self.failed.update(part["failed"])
        for kind, names in part["examples"].items():
            there = self.examples.setdefault(kind, [])
            there += names[: MOST_EXAMPLES - len(there)]

    def add_failed(self, kind: str, names: Sequence[str], count: int | None = None) -> None:
        """Count wanted images that were not where they should be: `count`, else those that are named."""
        number = len(names) if count is None else count
        examples = {kind: list(names[:MOST_EXAMPLES])}
        self.add({"images": number, "failed": {kind: number}, "examples": examples})


def encode_vectors(
    places: Sequence[Source], folder: Path, encoder: ImageEncoder, settings: "Encode", progress: ProgressLike
) -> tuple[OutcomeCounts, int]:
    """Write the vectors of all images to `folder`, a part for each partition; what is there stays.

    Returns what became of all images, and how many were encoded now.
    """
    return encode_lots([places], folder, encoder, settings, progress)


def encode_lots(
    lots: Iterable[Sequence[Source]],
    folder: Path,
    encoder: ImageEncoder,
    settings: "Encode",
    progress: ProgressLike,
) -> tuple[OutcomeCounts, int]:
    """The same of one lot of places after another: those of one may be gone when the next is asked for."""
    counts, encoded_now = OutcomeCounts(), 0
    with PartitionEncoder(encoder, settings, folder, 1 + len(encoder.others)) as parts:
        for places in lots:
            parts.first = max(parts.numbers, default=-1) + 1
            encoded_now += _encode_lot(parts, places, counts, encoder, settings, progress)
            _count_missing_shards(counts, places)
    remove_parts_but(folder, parts.numbers)
    return counts, encoded_now


def _encode_lot(
    parts: "PartitionEncoder",
    places: Sequence[Source],
    counts: OutcomeCounts,
    encoder: ImageEncoder,
    settings: "Encode",
    progress: ProgressLike,
) -> int:
    """Bring the parts of some places up to date, on all devices; how many images were encoded."""
    encoded_now = 0
    if encoder.others and parts.missing(places) > parts.batch:  # else not worth loading them
        with DeviceWorkers(places, parts.folder, encoder, settings, progress, parts.first) as workers:
            own = parts.encode(places, OutcomeCounts(), progress, workers.own_rank)
            encoded_now = own + workers.wait()
        progress = Remaining(progress)
    encoded_now += parts.encode(places, counts, progress)
    for each in places:
        if each.address is not None and str(each.path) in counts.left_out.damaged:
            counts.left_out.damaged[each.address] = counts.left_out.damaged.pop(str(each.path))
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


class PartitionEncoder:
    """An encoder and its decoders at work on a folder of vectors, for one call of `encode` after another.

    `numbers` are those of the parts that are up to date, the `first` that is written where no shard's number
    says it; `batch` images are encoded at once. Of `processes` that are at work on this machine it takes its
    part of the cores.
    """

    def __init__(self, encoder: ImageEncoder, settings: "Encode", folder: Path, processes: int = 1) -> None:
        self._least = _LEAST if encoder.device == "cpu" else 1
        self.batch = max(settings.batch_size or default_batch_size(encoder.device), self._least)
        how, two_batches, fixed = encoder.preprocessing, 2 * self.batch, settings.workers
        own_cores = max(1, cores() // processes)
        self._decoders = (
            Decoders(how, 1 if encoder.device == "cpu" else min(4, own_cores), two_batches, most=own_cores)
            if fixed is None
            else Decoders(how, fixed, two_batches)
        )
        self._splitter = CpuSplitter(self._decoders, encoder.device, own_cores) if fixed is None else None
        self._encoder, self.folder = encoder, folder
        self._earlier = EarlierVectors(folder, encoder)
        self.numbers: set[int] = set()
        self.first = 0

    def __enter__(self) -> Self:
        self._decoders.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._decoders.__exit__(*error)
        if self._splitter is not None:
            self._splitter.put_back()

    def missing(self, places: Iterable[Source]) -> int:
        """How many images of `places` have still to be encoded."""
        unfinished = self._unfinished(places, OutcomeCounts(), NoProgress(), ALONE)
        return sum(len(state.missing) for state in unfinished)

    def encode(
        self, places: Iterable[Source], counts: OutcomeCounts, progress: ProgressLike, rank: Rank = ALONE
    ) -> int:
        """Bring the parts of `places` up to date and count them in `counts`; how many images were encoded.

        Of the parts only those that the `rank` takes. An image whose vector is in its part already is not
        encoded again; one that is no longer wanted leaves its part.
        """
        unfinished = self._unfinished(places, counts, progress, rank)
        decoded = self._decoders.decode((image, state) for state in unfinished for image in state.missing)
        encoded_now = 0
        for first, state in decoded:
            rest = (each for each, _ in itertools.islice(decoded, len(state.missing) - 1))
            found = self._encode_images(itertools.chain([first], rest), len(state.missing), progress)
            counts.add(self._write(state, found))
            encoded_now += sum(isinstance(each, Vector) for each in found.values())
        return encoded_now

    def _unfinished(
        self, places: Iterable[Source], counts: OutcomeCounts, progress: ProgressLike, rank: Rank
    ) -> Iterator[_PartState]:
        """The parts with images still to encode; the others are written and counted on the way."""
        for index, (number, partition) in enumerate(
            _numbered(partitions(places, counts.left_out), self.first)
        ):
            if not rank.takes(index):
                continue
            if partition.missing:
                counts.add_failed(FROM_SHARD, partition.missing)
            part = part_paths(self.folder, number)
            present = self._without_lost(part, partition, counts) if partition.discarded else partition
            if not present.samples:
                continue
            self.numbers.add(number)
            state = self._state(part, present)
            progress.skip(len(present.samples) - len(state.missing))
            if state.missing:
                yield state
            else:
                counts.add(state.provenance or self._write(state, {}))

    def _without_lost(self, part: Part, partition: Partition, counts: OutcomeCounts) -> Partition:
        """A partition whose images were discarded, without those of which there is no vector either."""
        if read_provenance(part) is not None and provenance_if_whole(part) is None:
            raise EncodeError(
                f"{part.vectors} is damaged, and its pictures were discarded when they had their vectors; "
                "fetch them again with `visunex-data download --overwrite`"
            )
        results = read_results(part, partition.samples, self._encoder)
        lost = [each.where for each in partition.samples if image_key(each) not in results]
        if lost:
            counts.add_failed("discarded", lost)
        kept = tuple(each for each in partition.samples if image_key(each) in results)
        return replace(partition, samples=kept)

    def _state(self, part: Part, partition: Partition) -> _PartState:
        made_from, provenance = part_fingerprint(partition, self._encoder), provenance_if_whole(part)
        if provenance is not None and provenance.get("stamp") == made_from:
            return _PartState(part, partition, made_from, provenance, {}, ())
        results = {
            **self._earlier.of(partition.samples),
            **read_results(part, partition.samples, self._encoder),
        }
        missing = tuple(each for each in partition.samples if image_key(each) not in results)
        return _PartState(part, partition, made_from, None, results, missing)

    def _encode_images(self, decoded: Iterable[Decoded], count: int, progress: ProgressLike) -> Results:
        """What comes of each of `count` images, encoded in batches."""
        found: dict[ImageKey, Vector | str] = {}
        # Kept as they come, vectors lie between a batch's large blocks, which the heap then cannot use again.
        rooms = iter(np.empty((count, self._encoder.dimension), np.float32))
        for batch in batches(decoded, count, self.batch, self._encoder.stage, self._least):
            found.update({image_key(sample): reason for sample, reason in batch.failed})
            if batch.staged is not None:
                work = partial(self._encoder.vectors, batch.staged)
                rows = self._splitter.timed(len(batch.samples), work) if self._splitter else work()
                vectors = map(_vector, rows[: len(batch.samples)], rooms)
                found.update(zip(map(image_key, batch.samples), vectors, strict=True))
            progress.advance(len(batch))
        return found

    def _write(self, state: _PartState, found: Results) -> dict[str, Any]:
        """Write a part of what an earlier call and this one found; its provenance."""
        results = {**state.results, **found}
        return write_results(state.part, state.partition.samples, results, self._encoder, state.made_from)


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


def require_some(counts: OutcomeCounts, places: Sequence[str]) -> None:
    """Raise EncodeError, with the reasons, where no image could be encoded."""
    if counts.encoded:
        return
    reasons = [f"{count} {kind}" for kind, count in counts.failed.most_common()]
    reasons += [f"{count} left out: {kind}" for kind, count in counts.left_out.members.most_common()]
    reasons += [f"{shard}: {reason}" for shard, reason in counts.left_out.damaged.items()]
    where = ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
    raise EncodeError(f"no picture in {where} could be encoded ({'; '.join(reasons) or 'there is none'})")


def load_encoder(settings: "Encode", device: str = "auto") -> ImageEncoder:
    """The image encoder that the section `encode` of a recipe asks for, on its device. Raises ModelError."""
    return load_image_encoder(
        settings.model,
        settings.pretrained,
        precision=settings.precision,
        device=device,
        exact_decode=settings.exact_decode,
        preprocess=settings.preprocess,
        compiled=settings.compile,
    )


def default_batch_size(device: str) -> int:
    """Images per step: enough to fill the device; on a CPU no more than its cache holds of them."""
    return max(_LEAST, min(64, 4 * cores())) if device == "cpu" else 256


def count_chosen(places: Sequence[Source]) -> int | None:
    """How many images there are to encode; None where no run's table says so."""
    tables = {source.chosen for source in places}
    return sum(chosen_count(table) for table in tables if table) if None not in tables else None


def _count_missing_shards(counts: OutcomeCounts, places: Sequence[Source]) -> None:
    """Count the chosen images whose whole shard is not there."""
    total = count_chosen(places)
    if total is not None and total > counts.images:
        counts.add_failed(SHARD, [], total - counts.images)
