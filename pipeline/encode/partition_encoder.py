"""Partitions of pictures -> parts of vectors, resumable one by one, with an account of every picture."""

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from visunex.base.files import fingerprint
from visunex.base.progress import Progress
from visunex.clip.image_encoder import ImageEncoder

from ..shards.samples import Partition, Sample, Source, partitions
from ..shards.sidecar import chosen_count
from ..shards.tar import Tally
from ..vectors.store import Part, part_paths, read_notes, remove_parts_but, write_part
from .batching import Divider, batches, cores
from .decode_pool import Decoded, Decoders
from .multi_device import WHOLE, Helpers, Remaining, Share, Shown, Untold
from .resume import Known, Picture, Vector, notes_on, picture_of, read_known

if TYPE_CHECKING:
    from visunex.recipes.schema import Encode

_EXAMPLES = 5  # pictures named in a report for each reason


@dataclass
class Account:
    """What became of the pictures: `images` = `encoded` + the sum of `failed`."""

    images: int = 0
    encoded: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally.empty)

    def add(self, notes: dict[str, Any]) -> None:
        """Count a finished partition by its notes."""
        self.images += notes["images"]
        self.encoded += notes["images"] - sum(notes["failed"].values())
        self.failed.update(notes["failed"])
        for kind, where in notes["examples"].items():
            known = self.examples.setdefault(kind, [])
            known += where[: _EXAMPLES - len(known)]

    def lose(self, kind: str, names: Sequence[str], count: int | None = None) -> None:
        """Count wanted pictures that were not where they should be."""
        lost = len(names) if count is None else count
        self.add({"images": lost, "failed": {kind: lost}, "examples": {kind: list(names[:_EXAMPLES])}})


def encode_vectors(
    places: Sequence[Source], folder: Path, encoder: ImageEncoder, settings: "Encode", progress: Progress
) -> tuple[Account, int]:
    """Write the vectors of all pictures to `folder`, a part for each partition; what is there stays.

    Returns the account of all pictures and how many were encoded now.
    """
    account, fresh = Account(), 0
    shown: Shown = progress
    with Encoding(encoder, settings, folder, 1 + len(encoder.others)) as encoding:
        if encoder.others and encoding.missing(places) > encoding.batch:  # else not worth loading them
            with Helpers(places, folder, encoder, settings, progress) as helpers:
                fresh = encoding.encode(places, Account(), progress, helpers.own_share) + helpers.wait()
            shown = Remaining(progress)
        fresh += encoding.encode(places, account, shown)
    remove_parts_but(folder, encoding.numbers)
    _lose_unseen(account, places)
    return account, fresh


@dataclass(frozen=True)
class _Todo:
    """A part to bring up to date: what it knows of its pictures, and those still to encode.

    `notes` are the part's own where it is up to date already.
    """

    part: Part
    partition: Partition
    stamp: str
    notes: dict[str, Any] | None
    known: Known
    missing: tuple[Sample, ...]


class Encoding:
    """A tower and its decoders at work on a folder of vectors, for one call of `encode` after another.

    `numbers` are those of the parts that are up to date; `batch` pictures go through the tower at once. Of
    `processes` that are at work on this machine it takes its part of the cores.
    """

    def __init__(self, encoder: ImageEncoder, settings: "Encode", folder: Path, processes: int = 1) -> None:
        self.batch = settings.batch_size or default_batch_size(encoder.device)
        how, two_batches, fixed = encoder.preprocessing, 2 * self.batch, settings.workers
        own_cores = max(1, cores() // processes)
        self._decoders = (
            Decoders(how, 1 if encoder.device == "cpu" else min(4, own_cores), two_batches, most=own_cores)
            if fixed is None
            else Decoders(how, fixed, two_batches)
        )
        self._divider = Divider(self._decoders, encoder.device, own_cores) if fixed is None else None
        self._encoder, self._folder = encoder, folder
        self.numbers: set[int] = set()

    def __enter__(self) -> Self:
        self._decoders.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._decoders.__exit__(*error)
        if self._divider is not None:
            self._divider.put_back()

    def missing(self, places: Iterable[Source]) -> int:
        """How many pictures of `places` have still to be encoded."""
        return sum(len(todo.missing) for todo in self._unfinished(places, Account(), Untold(), WHOLE))

    def encode(
        self, places: Iterable[Source], account: Account, progress: Shown, share: Share = WHOLE
    ) -> int:
        """Bring the parts of `places` up to date and count them in `account`; how many pictures were encoded.

        Of the parts only those in the `share`.

        A picture whose vector is in its part already is not encoded again; one that is no longer wanted
        leaves its part.
        """
        fresh, queue = 0, deque[_Todo]()
        decoded = self._decoders.decode(_samples(self._unfinished(places, account, progress, share), queue))
        for first in decoded:  # pulling it has put its partition into the queue
            todo = queue.popleft()
            rest = itertools.islice(decoded, len(todo.missing) - 1)
            found = self._encode_pictures(itertools.chain([first], rest), len(todo.missing), progress)
            account.add(self._write(todo, found))
            fresh += sum(isinstance(each, Vector) for each in found.values())
        return fresh

    def _unfinished(
        self, places: Iterable[Source], account: Account, progress: Shown, share: Share
    ) -> Iterator[_Todo]:
        """The partitions with pictures still to encode; the others are written and counted on the way."""
        for at, (number, partition) in enumerate(_numbered(partitions(places, account.tally))):
            if not share.holds(at):
                continue
            if partition.missing:
                account.lose("missing_from_shard", partition.missing)
            part = part_paths(self._folder, number)
            present = self._without_lost(part, partition, account) if partition.discarded else partition
            if not present.samples:
                continue
            self.numbers.add(number)
            todo = self._todo(part, present)
            progress.skip(len(present.samples) - len(todo.missing))
            if todo.missing:
                yield todo
            else:
                account.add(todo.notes or self._write(todo, {}))

    def _without_lost(self, part: Part, partition: Partition, account: Account) -> Partition:
        """A partition whose pictures were discarded, without those of which there is no vector either."""
        known = read_known(part, _tower(self._encoder))
        lost = [each.where for each in partition.samples if picture_of(each) not in known]
        if lost:
            account.lose("discarded", lost)
        kept = tuple(each for each in partition.samples if picture_of(each) in known)
        return replace(partition, samples=kept)

    def _todo(self, part: Part, partition: Partition) -> _Todo:
        stamp, notes = _stamp(partition, self._encoder), read_notes(part)
        if notes is not None and notes.get("stamp") == stamp:
            return _Todo(part, partition, stamp, notes, {}, ())
        known = read_known(part, _tower(self._encoder))
        missing = tuple(each for each in partition.samples if picture_of(each) not in known)
        return _Todo(part, partition, stamp, None, known, missing)

    def _encode_pictures(self, decoded: Iterable[Decoded], count: int, progress: Shown) -> Known:
        """What came of each of `count` pictures, in batches through the tower."""
        found: dict[Picture, Vector | str] = {}
        # Kept as they come, vectors lie between a batch's large blocks, which the heap then cannot use again.
        rooms = iter(np.empty((count, self._encoder.dimension), np.float32))
        for batch in batches(decoded, self.batch, self._encoder.stage):
            found.update({picture_of(sample): reason for sample, reason in batch.failed})
            if batch.staged is not None:
                work = partial(self._encoder.vectors, batch.staged)
                rows = self._divider.timed(len(batch.samples), work) if self._divider else work()
                vectors = map(_vector, rows, rooms)
                found.update(zip(map(picture_of, batch.samples), vectors, strict=True))
            progress.advance(len(batch))
        return found

    def _write(self, todo: _Todo, found: Known) -> dict[str, Any]:
        """Write a part of what was known and what was found; its notes."""
        known, samples = {**todo.known, **found}, todo.partition.samples
        failures = [(reason, each) for each in samples if isinstance(reason := known[picture_of(each)], str)]
        vectors = [each for sample in samples if isinstance(each := known[picture_of(sample)], Vector)]
        notes = {
            "stamp": todo.stamp,
            "tower": _tower(self._encoder),
            "identity": self._encoder.identity(),
            "model": [self._encoder.model, self._encoder.pretrained],
            "images": len(samples),
            "failed": dict(Counter(kind for kind, _ in failures)),
            "examples": _examples(failures),
            **notes_on(samples, known),
        }
        rows = [np.zeros((0, self._encoder.dimension), np.float32), *(each.row[None] for each in vectors)]
        kept = [each for each in samples if isinstance(known[picture_of(each)], Vector)]
        norms = np.array([each.norm for each in vectors])
        write_part(todo.part, np.concatenate(rows), kept, notes, norms)
        return notes


def _numbered(found: Iterable[Partition]) -> Iterator[tuple[int, Partition]]:
    """Each partition and the number of its part: its shard's, else the next one."""
    number = 0
    for each in found:
        yield number if each.shard is None else each.shard, each
        number += bool(each.samples)


def _tower(encoder: ImageEncoder) -> str:
    """What vectors must have in common to stand in one part."""
    return fingerprint([encoder.identity(), encoder.precision])


def _stamp(partition: Partition, encoder: ImageEncoder) -> str:
    """What a finished part is known by: the tower and the pictures, wherever their run folder lies."""
    pictures = [
        [each.key, each.where, each.offset, each.size, each.caption, each.url, each.score]
        for each in partition.samples
    ]
    return fingerprint([encoder.identity(), encoder.precision, pictures])


def _samples(todo: Iterable[_Todo], queue: "deque[_Todo]") -> Iterator[Sample]:
    for each in todo:
        queue.append(each)
        yield from each.missing


def _vector(row: NDArray[np.float32], room: NDArray[np.float32]) -> Vector | str:
    """A row of a batch, copied into its room among those of the partition."""
    room[:] = row
    length = float(np.linalg.norm(row.astype(np.float64)))
    return Vector(room, length) if np.isfinite(length) and length else "no_vector"


def _examples(failures: Sequence[tuple[str, Sample]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, sample in failures:
        found.setdefault(kind, []).append(sample.where)
    return {kind: where[:_EXAMPLES] for kind, where in found.items()}


def default_batch_size(device: str) -> int:
    """Pictures per step: enough to fill the device; on a CPU no more than its cache holds of them."""
    return max(8, min(64, 4 * cores())) if device == "cpu" else 256


def count_chosen(places: Sequence[Source]) -> int | None:
    """How many pictures there are to do, where a run says so."""
    tables = {source.chosen for source in places}
    return sum(chosen_count(table) for table in tables if table) if None not in tables else None


def _lose_unseen(account: Account, places: Sequence[Source]) -> None:
    """Chosen pictures whose whole shard is not there."""
    total = count_chosen(places)
    if total is not None and total > account.images:
        account.lose("missing_shard", [], total - account.images)
