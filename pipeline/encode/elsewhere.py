"""Images that are named by an address or a data set's name: their files are copied here one at a time."""

import contextlib
import json
import re
import shutil
import tempfile
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from visunex.base.files import write_json
from visunex.base.text import bytes_in
from visunex.net.range_file import as_file

from ..errors import EncodeError, SourceError, fetch_errors_as, parquet_errors
from ..inside.amount import Allowance, Amount
from ..inside.copies import FarFile, copied, far_files
from ..inside.opened import opened_file
from ..metadata.filetypes import kind_by_name
from ..metadata.resolve import ResolvedSource, files_elsewhere
from ..rundir import RunDir
from ..shards.image_tables import columns_with_images
from ..shards.members import LeftOut
from ..shards.repeats import Dedupe, RunningRepeats
from ..shards.samples import Source, sources
from ..stored import run_or_place
from ..vectors.store import part_numbers, part_paths, provenance_if_whole
from .counts import OutcomeCounts

__all__ = ["Elsewhere", "elsewhere"]

_DONE = ".visunex/copied.json"  # in a run: what became of images whose files were copied
_TABLES = {"parquet": "parquet", "arrow": "arrow"}
_KINDS = (*_TABLES, "tar", "zip")


@dataclass(frozen=True)
class Elsewhere:
    """The `files` that the places with images mean, what tells their contents, and the column with images.

    `most` bytes (10GB) may be moved. `repeats` are found on the way.
    """

    files: tuple[FarFile, ...]
    identity: tuple[str, ...]
    column: str | None
    most: str
    repeats: RunningRepeats

    def allow(self) -> None:
        """Say how much is about to be moved. Raises EncodeError where that is too much."""
        amount = Amount(sum(each.size or 0 for each in self.files), len(self.files))
        Allowance(self.most, EncodeError).take(amount, "to be copied here, one file at a time")

    def lots(self, run: RunDir | None, here: Sequence[Source]) -> Iterator[Sequence[Source]]:
        """The images here, then those of one file after another; it is gone when the next is asked for."""
        self.allow()
        if here:
            yield self.repeats.without(here)
        with _folder(run) as folder:
            for file in self.files:
                with copied(file, folder, bytes_in(self.most)) as copy:
                    yield self.repeats.without(_sources(file, copy, self.column))

    def once(
        self, runs: Sequence[RunDir], encode: Callable[[], tuple[list[OutcomeCounts], int]]
    ) -> tuple[list[OutcomeCounts], int]:
        """What `encode` gives; where a run has all its vectors already, that again, with nothing moved.

        `runs` are the one run as each of the encoders has it; none where no vectors are kept.
        """
        if not runs:
            return encode()
        if (before := _encoded_before(runs, self.repeats.dedupe)) is not None:
            counts, self.repeats.count = before
            return counts, 0
        counts, encoded_now = encode()
        repeats = [self.repeats.dedupe, self.repeats.count]
        write_json(
            runs[0].path / _DONE,
            {"of": _made_of(runs), "repeats": repeats, "counts": [_counts_as_json(each) for each in counts]},
        )
        return counts, encoded_now


def _encoded_before(runs: Sequence[RunDir], dedupe: Dedupe) -> tuple[list[OutcomeCounts], int] | None:
    """What became of the images, and how many were repeated, where the run has all their vectors still."""
    try:
        said = json.loads((runs[0].path / _DONE).read_text(encoding="utf-8"))
        if said["of"] != _made_of(runs) or said["repeats"][0] != dedupe:
            return None
        return [_counts_of_json(each) for each in said["counts"]], said["repeats"][1]
    except (OSError, ValueError, TypeError, LookupError):
        return None


def _made_of(runs: Sequence[RunDir]) -> list[list[Any]]:
    return [[run.identity("encode"), _parts(run)] for run in runs]


def _counts_as_json(counts: OutcomeCounts) -> dict[str, Any]:
    left_out = {"members": dict(counts.left_out.members), "damaged": counts.left_out.damaged}
    return {**asdict(counts), "failed": dict(counts.failed), "left_out": left_out}


def _counts_of_json(said: dict[str, Any]) -> OutcomeCounts:
    left = LeftOut(Counter(said["left_out"]["members"]), said["left_out"]["damaged"])
    return OutcomeCounts(said["images"], said["encoded"], Counter(said["failed"]), said["examples"], left)


def _parts(run: RunDir) -> list[list[Any]]:
    """The run's parts of vectors that are whole, and what each was made of."""
    found = (
        (number, provenance_if_whole(part_paths(run.vectors, number))) for number in part_numbers(run.vectors)
    )
    return [[number, None if made is None else made.get("stamp")] for number, made in found]


@contextlib.contextmanager
def _folder(run: RunDir | None) -> Iterator[Path]:
    """Where copies lie: beside the vectors of a run, so that what a killed process left is found."""
    if run is None:
        with tempfile.TemporaryDirectory(prefix="visunex-") as folder:
            yield Path(folder)
        return
    own = run.path / ".visunex" / "copied"
    shutil.rmtree(own, ignore_errors=True)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _sources(file: FarFile, copy: Path, column: str | None) -> list[Source]:
    try:
        return [replace(each, address=file.address) for each in sources([copy], column)]
    except EncodeError as error:
        raise EncodeError(str(error).replace(str(copy), file.address)) from None


def elsewhere(
    places: Sequence[str | Path], column: str | None, most: str, dedupe: Dedupe
) -> tuple[list[str | Path], Elsewhere | None]:
    """The places on this machine, and the files that the others mean. Raises EncodeError."""
    here: list[str | Path] = []
    found: list[ResolvedSource] = []
    for place in map(run_or_place, places):
        source = _files_of(str(place))
        if source is None:
            here.append(place)
        else:
            found.append(source)
    if not found:
        return here, None
    named = {path: _called(number, path, each) for each in found for number, path in enumerate(each.paths)}
    files, identity = far_files(list(named.items())), (repr(each.identity) for each in found)
    far = Elsewhere(tuple(files), tuple(identity), column, most, RunningRepeats(dedupe))
    for first in (each.paths[0] for each in found):
        _require_images(first, named[first])
    return here, far


def _files_of(place: str) -> ResolvedSource | None:
    try:
        return files_elsewhere(place)
    except SourceError as error:
        raise EncodeError(str(error)) from None


def _called(number: int, address: str, source: ResolvedSource) -> str:
    """What the copy of a file is called: as it is, with the suffix of its kind. Raises EncodeError."""
    path = urllib.parse.urlsplit(address).path if "://" in address else address
    kind = (kind_by_name(path) if source.convert else "parquet") if not _is_streamed(address) else None
    if kind not in _KINDS:
        raise EncodeError(
            f"{address} is no file with pictures inside: --images takes parquet, Arrow, tar and zip files; a "
            "list of links is for `visunex-data filter` and `download`"
        )
    name = re.sub(r"[^A-Za-z0-9._-]", "_", urllib.parse.unquote(path).rpartition("/")[2])[-80:].lstrip(".")
    return name if name.lower().endswith(_suffixes(kind)) else f"{name or number}.{kind}"


def _is_streamed(address: str) -> bool:
    return address.startswith("datasets://")


def _suffixes(kind: str) -> tuple[str, ...]:
    return (".arrow", ".feather") if kind == "arrow" else (f".{kind}",)


def _require_images(address: str, called: str) -> None:
    """Raise EncodeError for a table without pictures before all of it is moved."""
    if not called.lower().endswith((".parquet", *_suffixes("arrow"))):
        return
    try:
        with fetch_errors_as(EncodeError):
            found = columns_with_images(as_file(opened_file(address)))
    except parquet_errors() as error:
        raise EncodeError(f"{address} cannot be read: {error}") from None
    if not found:
        raise EncodeError(
            f"{address} has no column with pictures; a list of links is for `visunex-data filter` and "
            "`download`"
        )
