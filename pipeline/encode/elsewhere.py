"""Images that are named by an address or a data set's name: their files are copied here one at a time."""

import contextlib
import re
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
from ..shards.repeats import RunningRepeats
from ..shards.samples import Source, sources

__all__ = ["Elsewhere", "elsewhere"]

_TABLES = {"parquet": "parquet", "arrow": "arrow"}
_KINDS = (*_TABLES, "tar", "zip")


@dataclass(frozen=True)
class Elsewhere:
    """The `files` that the places with images mean, what tells their contents, and the column with images.

    `most` bytes (10GB) may be moved.
    """

    files: tuple[FarFile, ...]
    identity: tuple[str, ...]
    column: str | None
    most: str

    def allow(self) -> None:
        """Say how much is about to be moved. Raises EncodeError where that is too much."""
        amount = Amount(sum(each.size or 0 for each in self.files), len(self.files))
        Allowance(self.most, EncodeError).take(amount, "to be copied here, one file at a time")

    def lots(self, run: RunDir | None, repeats: RunningRepeats) -> Iterator[list[Source]]:
        """The images of one file after another; each file is gone when the next is asked for."""
        with _folder(run) as folder:
            for file in self.files:
                with copied(file, folder, bytes_in(self.most)) as copy:
                    yield list(repeats.without(_sources(file, copy, self.column)))


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
    places: Sequence[str | Path], column: str | None, most: str
) -> tuple[list[str | Path], Elsewhere | None]:
    """The places on this machine, and the files that the others mean. Raises EncodeError."""
    here: list[str | Path] = []
    found: list[ResolvedSource] = []
    for place in places:
        source = _files_of(str(place))
        if source is None:
            here.append(place)
        else:
            found.append(source)
    if not found:
        return here, None
    named = {path: _called(number, path, each) for each in found for number, path in enumerate(each.paths)}
    files, identity = far_files(list(named.items())), (repr(each.identity) for each in found)
    far = Elsewhere(tuple(files), tuple(identity), column, most)
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
