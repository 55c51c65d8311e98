"""Images out of a tar instead of the web: the members that are wanted, copied in one pass, never unpacked.

The tar may be a file or an address and of any size. Wanted members go into one spool file beside the run,
from which the workers then make shards as they do from the web, with the same checks.
"""

import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from visunex.base.files import fingerprint, write_json
from visunex.base.progress import Progress
from visunex.net.errors import FetchError
from visunex.net.fetcher import FetchSettings
from visunex.net.stream import is_address, opened_stream

from ..errors import DownloadError, UsageError
from ..inside.spool import SPOOL, Held
from ..metadata.sac import SCHEME
from ..shards.tar import archives, headers, refusal

__all__ = ["Collected", "TarSpool", "collect", "places_of"]

_MOST_TARS = 10_000
_NOT_THERE = "not_in_tar: the tar has no such member, or none that can be taken"


@dataclass(frozen=True)
class Collected:
    """Images taken from tars: where each URL's bytes lie in the spool (begin, size).

    `left_out` counts members that were wanted or not but cannot be taken, by reason.
    """

    places: Mapping[str, Held]
    left_out: dict[str, int]


def places_of(images: str) -> list[str]:
    """The tars that `--images` names: `sac-{000000..000086}.tar` are 87 of them. Raises UsageError."""
    if "://" in images and not is_address(images):
        raise UsageError(
            f"--images {images}: tars are taken from this machine and from http(s) addresses only"
        )
    if "{" not in images or (not is_address(images) and Path(images).exists()):
        return [images]
    from itertools import islice

    from braceexpand import braceexpand

    try:
        places = list(islice(braceexpand(images), _MOST_TARS + 1))
    except Exception as error:
        raise UsageError(f"--images {images}: {error}") from None
    if len(places) > _MOST_TARS:
        raise UsageError(f"--images {images} names more than {_MOST_TARS} tars")
    return places


def collect(
    places: Sequence[str], urls: Sequence[str | None], folder: Path, settings: FetchSettings
) -> Collected:
    """Copy the members that `urls` (`sac:NAME`) name into a spool in `folder`.

    A spool that an interrupted download has made of the same tars and rows is kept. Reading stops when all
    are found. Links, devices and names that lead out of a folder are left out and counted, as is a second
    member for the same image. Raises DownloadError for a tar that cannot be read to its end, or a full disk.
    """
    made_from = fingerprint([[_state(place) for place in places], list(urls), settings.max_bytes])
    if spool := _finished(folder, made_from):
        return spool
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    search = _Search(urls, folder, settings)
    try:
        with (
            (folder / SPOOL).open("wb") as target,
            Progress("look through the tar", search.wanted) as shown,
        ):
            for place in places:
                if search.missing:
                    search.look(place, target, shown)
    except OSError as error:
        raise DownloadError(f"{folder}: {error.strerror or error}") from None
    index = {"stamp": made_from, "places": search.found, "left_out": dict(search.left_out)}
    write_json(folder / "index.json", index)
    return Collected(search.found, dict(search.left_out))


class TarSpool:
    """The pictures of candidates that members of tars are, looked for once; see `Spool`."""

    def __init__(
        self, places: Sequence[str], urls: Sequence[str | None], folder: Path, settings: FetchSettings
    ) -> None:
        self._places, self._urls, self._folder, self._settings = places, urls, folder, settings
        self.path = folder / SPOOL
        self.left_out: Mapping[str, int] = {}
        self._held: Mapping[str, Held] | None = None

    def take(self, ranks: Sequence[int]) -> Mapping[int, Held]:
        """Of each candidate where its picture lies in the spool, or why not. Raises DownloadError."""
        if self._held is None:
            found = collect(self._places, self._urls, self._folder, self._settings)
            self.left_out, self._held = found.left_out, found.places
        return {rank: self._held.get(self._urls[rank] or "", _NOT_THERE) for rank in ranks}

    def close(self) -> None:
        """Remove what was copied."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _finished(folder: Path, made_from: str) -> Collected | None:
    """A spool that an earlier, interrupted download has finished; None without one."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if index["stamp"] != made_from:
            return None
        places = {url: (int(begin), int(size)) for url, (begin, size) in index["places"].items()}
        return Collected(places, dict(index["left_out"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # none, or none of ours: made anew


def _state(place: str) -> list[Any]:
    """What tells that a tar has changed."""
    try:
        found = None if is_address(place) else Path(place).stat()
    except OSError:
        found = None
    return [place] if found is None else [place, found.st_size, found.st_mtime_ns]


class _Search:
    """The names still looked for; a tar's own may have a folder more in front, or one less."""

    def __init__(self, urls: Sequence[str | None], folder: Path, settings: FetchSettings) -> None:
        self._settings = settings
        self._by_name: dict[str, list[str]] = {}
        for url in dict.fromkeys(url for url in urls if url):
            path = PurePosixPath(url.removeprefix(SCHEME).replace("\\", "/"))
            self._by_name.setdefault(path.name, []).append(url)
        self.wanted = self.missing = sum(map(len, self._by_name.values()))
        self.found: dict[str, tuple[int, int]] = {}
        self.left_out: Counter[str] = Counter()

    def look(self, place: str, spool: IO[bytes], shown: Progress) -> None:
        """Go through one tar. Raises DownloadError."""
        try:
            with opened_stream(place, self._settings.client) as file:
                self._members(file, spool, shown)
        except DownloadError:
            raise
        except FetchError as error:
            raise DownloadError(error.advice) from None
        except tarfile.ReadError as error:
            raise DownloadError(f"{place} is no whole tar: {error}; fetch it again") from None
        except Exception as error:  # a hostile header provokes anything
            raise DownloadError(
                f"{place} is no tar that can be read ({type(error).__name__}: {error})"
            ) from None

    def _members(self, file: IO[bytes], spool: IO[bytes], shown: Progress) -> None:
        for tar in archives(file):
            for info in headers(tar):
                if info.isdir():
                    continue
                if reason := refusal(info):
                    self.left_out[reason] += 1
                elif url := self._wanted_url(info.name):
                    self._take(url, tar, info, spool)
                    shown.update(len(self.found))
                    if not self.missing:
                        return

    def _wanted_url(self, name: str) -> str | None:
        """The URL that a member of this name is the image of, if it is looked for."""
        member = PurePosixPath(name.replace("\\", "/"))
        for url in self._by_name.get(member.name, ()):
            path = PurePosixPath(url.removeprefix(SCHEME).replace("\\", "/"))
            if _same_end(member.parts, path.parts):
                return url
        return None

    def _take(self, url: str, tar: tarfile.TarFile, info: tarfile.TarInfo, spool: IO[bytes]) -> None:
        if url in self.found:
            self.left_out["duplicate_name"] += 1
        elif info.size > self._settings.max_bytes:
            self.left_out["too_large"] += 1
        else:
            data = tar.extractfile(info)
            begin = spool.tell()
            if data is None or spool.write(data.read()) < info.size:
                raise tarfile.ReadError("it ends inside a member")
            self.found[url] = (begin, info.size)
            self.missing -= 1


def _same_end(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the shorter path is the end of the longer; a leading / or ./ says nothing."""
    a, b = ([part for part in parts if part not in ("/", ".")] for parts in (first, second))
    size = min(len(a), len(b))
    return size > 0 and a[-size:] == b[-size:]
