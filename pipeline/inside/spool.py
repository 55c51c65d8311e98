"""Pictures that lie inside files rather than on the web: copied into one file, the spool, round by round.

From it the worker processes make shards as they do from the web, with the same checks. What is moved is the
part of each file that holds the round's pictures.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol

from visunex.base.files import write_json
from visunex.base.progress import Progress
from visunex.base.text import size_shown
from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.net.range_file import CONNECTIONS

from ..errors import DownloadError
from .amount import MOST_MOVED, Allowance, Amount
from .copies import SPARE
from .location import Location, parse
from .named import NamedImages, with_named
from .opened import is_remote, opened_file
from .reading import ImageFile, Taken

__all__ = ["SPOOL", "FileSpool", "Held", "Spool"]

Held = tuple[int, int] | str  # (begin, bytes) of an image in the spool, or why it is not there
_NOWHERE = "no_location: the row does not say where its picture lies"
SPOOL, _INDEX = "pictures", "index.json"  # in the folder of a spool
_MOST_OPENED = 1000  # files


class Spool(Protocol):
    """Where the pictures of candidates come from, when not from the web; `path` is the file with them."""

    path: Path
    left_out: Mapping[str, int]

    def take(self, ranks: Sequence[int]) -> Mapping[int, Held]:
        """Of each candidate where its picture lies in the spool, or why not. Raises DownloadError."""

    def close(self) -> None:
        """Remove what was copied."""


class FileSpool:
    """The pictures at the `locations` (by rank) inside tables, tars, zips and folders; see `Spool`.

    `begin` is called before files are read. What an interrupted download of the same selection (`made_from`)
    has copied into `folder` already is not read again: the same place in a file may hold another picture.
    """

    left_out: Mapping[str, int] = {}

    def __init__(
        self,
        locations: Sequence[str | None],
        folder: Path,
        most: int,
        made_from: str = "",
        most_moved: str = MOST_MOVED,
        begin: Callable[[], object] = lambda: None,
    ) -> None:
        self._locations, self._folder, self._most, self._made_from = locations, folder, most, made_from
        self._allowance, self._begin = Allowance(most_moved, DownloadError), begin
        self._opened: dict[str, ImageFile] = {}  # those behind addresses: what they say is moved once
        self._same: dict[bytes, Held] = {}  # by hash: a file may repeat a picture for ever
        self.path = folder / SPOOL
        self._held: dict[str, Held] = _held_before(folder, made_from)

    def take(self, ranks: Sequence[int]) -> Mapping[int, Held]:
        """Of each candidate where its picture lies in the spool, or why not. Raises DownloadError."""
        texts = {rank: self._locations[rank] for rank in ranks}
        missing = dict.fromkeys(text for text in texts.values() if text and text not in self._held)
        if missing:
            self._begin()
            self._copy([parse(text) for text in missing])
        return {rank: self._held.get(text or "", _NOWHERE) for rank, text in texts.items()}

    def close(self) -> None:
        """Remove what was copied."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _copy(self, wanted: Sequence[Location]) -> None:
        by_file: dict[str, list[Location]] = {}
        named = NamedImages([each for each in wanted if each.is_named], self._most)
        for each in wanted:
            if not each.is_named:
                by_file.setdefault(each.file, []).append(each)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._allow({file: some for file, some in by_file.items() if is_remote(file)}, named)
        try:
            with self.path.open("ab") as spool, Progress("take from files", len(wanted)) as shown:
                try:
                    with _named_errors():
                        self._keep_all(named.images(), spool, shown)
                finally:
                    self._keep(spool)
                for file in sorted(by_file):
                    try:
                        self._copy_from(file, by_file[file], spool, shown)
                    finally:  # what a file gave before it failed is not moved again
                        self._keep(spool)
        except OSError as error:
            raise DownloadError(f"{self._folder}: {error.strerror or error}; what is done is kept") from None

    def _allow(self, by_file: Mapping[str, Sequence[Location]], named: NamedImages) -> None:
        """Say how much is to be moved from files behind addresses. Raises DownloadError: it is too much."""
        with _named_errors(), ThreadPoolExecutor(CONNECTIONS) as pool:
            amounts = pool.map(lambda file: self._file(file).amount(by_file[file], self._most), by_file)
            self._take(sum(amounts, named.amount()))

    def _take(self, amount: Amount) -> None:
        if amount != Amount():
            self._allowance.take(amount, "to be moved")

    def _file(self, file: str) -> ImageFile:
        found = self._opened.get(file) or ImageFile(opened_file(file))
        if is_remote(file) and len(self._opened) < _MOST_OPENED:
            self._opened[file] = found
        return found

    def _copy_from(self, file: str, wanted: Sequence[Location], spool: IO[bytes], shown: Progress) -> None:
        with _named_errors():
            taken = self._file(file).images(wanted, self._most)
            taken = with_named(taken, self._file(file), file, self._most, self._take)
            self._keep_all(taken, spool, shown)

    def _keep_all(self, taken: Iterator[Taken], spool: IO[bytes], shown: Progress) -> None:
        for location, found in taken:
            self._held[str(location)] = self._put(found, spool)
            shown.update(len(self._held))

    def _put(self, image: bytes | ImageError, spool: IO[bytes]) -> Held:
        """Where an image lies in the spool, put at its end unless it is there; else why there is none."""
        if isinstance(image, ImageError):
            return image.described
        same = hashlib.blake2b(image, digest_size=16).digest()
        if same not in self._same:
            if shutil.disk_usage(self._folder).free < SPARE + len(image):
                raise DownloadError(
                    f"the pictures would fill the disk of {self._folder}, of which {size_shown(SPARE)} stay "
                    "free; what is done is kept"
                )
            self._same[same] = (spool.tell(), len(image))
            spool.write(image)
        return self._same[same]

    def _keep(self, spool: IO[bytes]) -> None:
        """Remember what the spool has, for a download that goes on with it."""
        spool.flush()
        write_json(self._folder / _INDEX, {"made_from": self._made_from, "held": self._held})


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Within it, a file that cannot be read is what ends a download."""
    try:
        yield
    except FetchError as error:
        gone = error.status in (404, 410)
        anew = ". It was there when the rows were chosen: `filter --overwrite` chooses anew" if gone else ""
        raise DownloadError(f"{error.advice}; what is done is kept{anew}") from None


def _held_before(folder: Path, made_from: str) -> dict[str, Held]:
    """The pictures that a spool in a folder has; one of something else, or broken, is removed."""
    try:
        before = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        size = (folder / SPOOL).stat().st_size
        if before["made_from"] == made_from:
            places = {text: held for text, held in before["held"].items() if not isinstance(held, str)}
            return {text: (begin, count) for text, (begin, count) in places.items() if begin + count <= size}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return {}
