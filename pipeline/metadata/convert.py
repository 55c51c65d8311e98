"""A source that is not parquet, wherever it lies: converted once, beside the run, and found again."""

import contextlib
import json
import re
import shutil
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from visunex.base.files import fingerprint, write_json, write_text
from visunex.base.progress import Progress
from visunex.net.errors import FetchError
from visunex.net.range_file import CONNECTIONS
from visunex.net.stream import is_address

from ..errors import SourceError, fetch_errors_as
from ..inside.amount import MOST_MOVED, Allowance, Amount
from ..inside.copies import SPARE, size_of
from ..inside.opened import opened_file, read_through, streamed
from .filetypes import kind_by_name, kind_of
from .formats.archive import read_tar, read_zip
from .formats.reader_process import convert_file
from .formats.records import AS_USUAL, Reading, Tally
from .formats.to_parquet import convert_archive, parts_in, write_tables
from .hub.datasets import SCHEME, tables
from .locate import LARGEST, require_fitting
from .resolve import ResolvedSource

__all__ = ["as_parquet", "fetched"]

_YOURSELF = "fetch what you need of it yourself and give its path"
_CHUNK = 1 << 20
_DONE, _LEFT_OUT = "done", "left_out.json"
_REMARKS = 20  # of all files
_FORM = 3  # of what is kept; another one is made anew


def as_parquet(
    source: ResolvedSource,
    folder: Path,
    reading: Reading = AS_USUAL,
    *,
    also: Collection[str] = (),
    anew: bool = False,
    most: int = LARGEST,
    most_moved: str = MOST_MOVED,
) -> ResolvedSource:
    """The source with every file that is not parquet, and those `also` named, converted into `folder`, once.

    What is converted already is found again by the identity of the source and how it is read, unless all is
    to be made `anew`. Of a file behind an address at most `most` bytes are fetched; of all with the pictures
    inside that are read whole `most_moved` (10GB), which is said before. What was left out of the files is
    said in the source's `dropped` and `remarks`. Raises SourceError.
    """
    to_convert = [
        path in also or (source.convert if "://" in path else kind_of(Path(path)) != "parquet")
        for path in source.paths
    ]
    if not any(to_convert):
        return source
    how = [reading.columns.model_dump(exclude_none=True), reading.names, sorted(also), _FORM]
    contents = fingerprint([source.identity, how])
    place = folder / contents[:16]
    if anew or not (place / _DONE).exists():
        _allow(source, also, most_moved)
        shutil.rmtree(folder, ignore_errors=True)  # what another source left
        tallies = [
            (path, _convert(path, place / f"{number:05d}", reading, most))
            for number, path in enumerate(source.paths)
            if to_convert[number]
        ]
        write_json(place / _LEFT_OUT, _left_out(tallies))
        write_text(place / _DONE, contents)
    return _converted(source, place, to_convert)


def _converted(source: ResolvedSource, place: Path, which: Sequence[bool]) -> ResolvedSource:
    """The source with the parquet files that those of its paths became. Raises SourceError."""
    paths: list[str] = []
    places: list[str] = []
    keys: list[Mapping[str, str | None]] = []
    for number, path in enumerate(source.paths):
        parts = parts_in(place / f"{number:05d}") if which[number] else [path]
        paths += parts
        places += [source.place_of(path)] * len(parts)
        keys += [source.keys_of(number)] * len(parts)
    if not paths:
        raise SourceError(f"{source.name} has no rows")
    said = json.loads((place / _LEFT_OUT).read_text(encoding="utf-8"))
    located = [path for path, made_from in zip(paths, places, strict=True) if made_from in said["located"]]
    return replace(
        source,
        paths=tuple(paths),
        keys=tuple(keys),
        places=tuple(places),
        indexes=frozenset(located),
        convert=False,
        dropped=said["dropped"],
        remarks=(*source.remarks, *said["remarks"]),
    )


def _allow(source: ResolvedSource, also: Collection[str], most_moved: str) -> None:
    """Say how many bytes are to be read of far files that may hold pictures. Raises SourceError."""
    kinds = {path: kind_by_name(_path_of(path)) for path in source.paths if "://" in path}
    whole = [path for path, kind in kinds.items() if kind in ("tar", "arrow") or path in also]
    if whole:
        said = {each.get("url"): str(each.get("size")) for each in source.identity if isinstance(each, dict)}
        sizes = [int(said[path]) for path in whole if said.get(path, "").isdecimal()]
        with ThreadPoolExecutor(CONNECTIONS) as pool, fetch_errors_as(SourceError):
            unsaid = [path for path in whole if not said.get(path, "").isdecimal()]
            sizes += [size or 0 for size in pool.map(size_of, unsaid)]
        amount = Amount(sum(sizes), files=len(whole))
        Allowance(most_moved, SourceError).take(amount, "to be read, to know where the pictures are")


def _left_out(tallies: list[tuple[str, Tally]]) -> dict[str, Any]:
    """What was left out of all files, as JSON: how many rows by reason, and what a person should know."""
    dropped = sum((tally.dropped for _, tally in tallies), Counter[str]())
    said = [f"{Path(path).name}: {remark}" for path, tally in tallies for remark in tally.remarks]
    located = [path for path, tally in tallies if tally.located]
    return {"dropped": dict(dropped), "remarks": said[:_REMARKS], "located": located}


def _convert(path: str, place: Path, reading: Reading, most: int) -> Tally:
    if path.startswith(SCHEME):
        return Tally(write_tables(tables(path), place))
    if "://" not in path:
        return convert_file(Path(path), place, reading)
    reading = replace(reading, address=path)
    if (kind := kind_by_name(_path_of(path))) in ("tar", "zip"):
        return _index(path, kind, place, reading)
    with fetched(path, place, most) as file:
        try:
            return convert_file(file, place, reading)
        except SourceError as error:
            raise SourceError(str(error).replace(str(file), path)) from None


def _path_of(address: str) -> str:
    """The path in an address; only those of the web have queries."""
    return urllib.parse.urlsplit(address).path if is_address(address) else address


def _index(address: str, kind: str, place: Path, reading: Reading) -> Tally:
    """Where the pictures of an archive behind an address lie; nothing of it is kept."""
    place.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    if kind == "zip":
        return convert_archive(read_zip(opened_file(address), address, tally), place, reading, tally)
    with fetch_errors_as(SourceError):
        stream = read_through(opened_file(address))
        return convert_archive(read_tar(stream, address, tally), place, reading, tally)


@contextlib.contextmanager
def fetched(url: str, folder: Path, most: int = LARGEST) -> Iterator[Path]:
    """The file behind a URL, in `folder` for the length of the block; gzip is unpacked on the way.

    Raises SourceError: it cannot be fetched, has more than `most` bytes, or would fill the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = urllib.parse.unquote(_path_of(url)).rpartition("/")[2]
    target = folder / f"fetched-{re.sub(r'[^A-Za-z0-9._-]', '_', name)[-80:]}"
    try:
        _copy(url, target, most)
        yield target
    finally:
        target.unlink(missing_ok=True)


def _copy(url: str, target: Path, most: int) -> None:
    size = 0
    try:
        with (
            streamed(url) as stream,
            target.open("wb") as file,
            Progress("fetch", None, unit="MB") as shown,
        ):
            while data := stream.read(_CHUNK):
                size += len(data)
                require_fitting(url, size, most)
                if shutil.disk_usage(target.parent).free < SPARE:
                    raise SourceError(
                        f"{url} would fill the disk, of which {SPARE >> 30} GiB stay free; {_YOURSELF}"
                    )
                file.write(data)
                shown.update(size >> 20)
    except FetchError as error:
        raise SourceError(error.message) from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{url} cannot be fetched whole: {error}") from None
