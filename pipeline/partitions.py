"""Partitions of pictures -> parts of vectors, resumable one by one, with an account of every picture."""

import itertools
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.console import Progress
from visunex.base.files import fingerprint

from .clip import ImageEncoder
from .decoders import Decoded, Decoders
from .shards import Partition, Sample, Source, partitions
from .sidecars import chosen_count
from .tars import Tally
from .vectors import part_paths, read_notes, remove_parts_from, write_part

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
    """Write the vectors of all pictures to `folder`, a part for each partition; finished parts stay.

    Returns the account of all pictures and how many were encoded now.
    """
    account, fresh = Account(), 0
    queue: deque[_Todo] = deque()
    workers = settings.workers if settings.workers is not None else default_workers(encoder.device)
    batch = settings.batch_size or default_batch_size(encoder.device)
    with Decoders(encoder.preprocessing, workers, ahead=2 * batch) as decoders:
        todo = _unfinished(places, folder, encoder, account, progress)
        decoded = decoders.decode(_samples(todo, queue))
        for first in decoded:  # pulling it has put its partition into the queue
            each = queue.popleft()
            rest = itertools.islice(decoded, len(each.partition.samples) - 1)
            notes = _encode_part(each, itertools.chain([first], rest), encoder, batch, progress)
            account.add(notes)
            fresh += notes["images"] - sum(notes["failed"].values())
    _lose_unseen(account, places)
    return account, fresh


@dataclass(frozen=True)
class _Todo:
    number: int
    partition: Partition
    stamp: str
    folder: Path


def _unfinished(
    places: Sequence[Source], folder: Path, encoder: ImageEncoder, account: Account, progress: Progress
) -> Iterator[_Todo]:
    """The partitions still to encode; finished ones are counted on the way."""
    number = 0
    for partition in partitions(places, account.tally):
        if partition.missing:
            account.lose("missing_from_shard", partition.missing)
        if not partition.samples:
            continue
        stamp = _stamp(partition, encoder)
        notes = read_notes(part_paths(folder, number))
        if notes is not None and notes.get("stamp") == stamp:
            account.add(notes)
            if progress.total is not None:
                progress.total -= len(partition.samples)  # the rate is of what is done now
        else:
            yield _Todo(number, partition, stamp, folder)
        number += 1
    remove_parts_from(folder, number)


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
        yield from each.partition.samples


def _encode_part(
    todo: _Todo, decoded: Iterable[Decoded], encoder: ImageEncoder, batch_size: int, progress: Progress
) -> dict[str, Any]:
    """Encode one partition, write its part, return its notes."""
    vectors: list[NDArray[np.float32]] = []
    kept: list[Sample] = []
    failures: list[tuple[str, Sample]] = []
    for batch in _batched(decoded, batch_size):
        good = [each for each in batch if each.pixels is not None]
        failures += [(each.reason, each.sample) for each in batch if each.pixels is None]
        if good:
            found = encoder.encode(np.stack([each.pixels for each in good if each.pixels is not None]))
            sound = [bool(np.isfinite(row).all() and row.any()) for row in found]
            vectors.append(found[sound])
            kept += [each.sample for each, fine in zip(good, sound, strict=True) if fine]
            failures += [
                ("no_vector", each.sample) for each, fine in zip(good, sound, strict=True) if not fine
            ]
        progress.advance(len(batch))
    notes = {
        "stamp": todo.stamp,
        "identity": encoder.identity(),
        "model": [encoder.model, encoder.pretrained],
        "images": len(todo.partition.samples),
        "failed": dict(Counter(kind for kind, _ in failures)),
        "examples": _examples(failures),
    }
    stacked = np.concatenate([np.zeros((0, encoder.dimension), dtype=np.float32), *vectors])
    write_part(part_paths(todo.folder, todo.number), stacked, kept, notes)
    return notes


def _batched(decoded: Iterable[Decoded], size: int) -> Iterator[list[Decoded]]:
    rest = iter(decoded)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _examples(failures: Sequence[tuple[str, Sample]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, sample in failures:
        found.setdefault(kind, []).append(sample.where)
    return {kind: where[:_EXAMPLES] for kind, where in found.items()}


def default_workers(device: str) -> int:
    """Processes that decode: on a GPU all cores but one, on a CPU half, as the tower needs the rest."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2 if device == "cpu" else cores - 1)


def default_batch_size(device: str) -> int:
    """Pictures per step: enough to fill the device."""
    return 32 if device == "cpu" else 256


def count_chosen(places: Sequence[Source]) -> int | None:
    """How many pictures there are to do, where a run says so."""
    tables = {source.chosen for source in places}
    return sum(chosen_count(table) for table in tables if table) if None not in tables else None


def _lose_unseen(account: Account, places: Sequence[Source]) -> None:
    """Chosen pictures whose whole shard is not there."""
    total = count_chosen(places)
    if total is not None and total > account.images:
        account.lose("missing_shard", [], total - account.images)
