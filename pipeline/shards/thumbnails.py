"""Small copies of images, kept in a folder beside them, also when the images themselves are discarded."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from visunex.base.files import atomic, fingerprint
from visunex.base.machine import cores
from visunex.images.errors import ImageError
from visunex.images.thumbnails import thumbnail

from ..errors import EncodeError, parquet_errors
from .places import Source
from .samples import Sample, listing, samples

__all__ = ["THUMBNAILS", "keep_thumbnails", "thumbnails_of"]

THUMBNAILS = "thumbnails"  # the folder's name, in a run
_AT_ONCE = 64  # images that are read at a time
_MADE_FROM = b"visunex"  # the key of ours in a parquet schema's metadata


def thumbnails_of(places: Iterable[Source], folder: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The thumbnails (WebP) of the images that are `wanted`, by the samples' `where`.

    Those that `folder` lacks are made and kept there. One that cannot be had is absent.
    """
    found, places = dict[str, bytes](), list(places)
    for place in places:
        found |= _only(_read(_file(place, folder), _state(place)), wanted)
    if len(found) < len(wanted):  # else no shard has to be looked through
        for place in places:
            if not place.discarded:
                found |= _of_place(place, folder, wanted)
    return found


def keep_thumbnails(tar: Path) -> None:
    """Keep thumbnails of all images of a run's shard that is about to be discarded."""
    place, folder = Source(tar, "tar"), tar.parent.parent / THUMBNAILS
    with contextlib.suppress(OSError):  # a picture less in a report is no reason to stop
        _write(_file(place, folder), dict(_made(samples([place]))), _state(place))


def _of_place(place: Source, folder: Path, wanted: Collection[str]) -> dict[str, bytes]:
    state, file = _state(place), _file(place, folder)
    before = _read(file, state)
    with contextlib.suppress(EncodeError, *parquet_errors()):  # places that are damaged, or gone
        missing = (each for each in samples([place]) if each.where in wanted and each.where not in before)
        if made := dict(_made(missing)):
            before |= made
            with contextlib.suppress(OSError):
                _write(file, before, state)
    return _only(before, wanted)


def _only(found: Mapping[str, bytes], wanted: Collection[str]) -> dict[str, bytes]:
    return {where: data for where, data in found.items() if where in wanted}


def _made(images: Iterable[Sample]) -> Iterator[tuple[str, bytes]]:
    """Thumbnails by `where`; Pillow decodes without Python's lock, so threads do."""
    rest = iter(images)
    with ThreadPoolExecutor(cores()) as pool:
        while chunk := list(islice(rest, _AT_ONCE)):
            for sample, data in zip(chunk, pool.map(_small, chunk), strict=True):
                if data is not None:
                    yield sample.where, data


def _small(sample: Sample) -> bytes | None:
    try:
        return thumbnail(sample.read())
    except ImageError:
        return None


def _file(place: Source, folder: Path) -> Path:
    """Where the thumbnails of a place are kept: by a shard's name, else by a hash of its path."""
    of_run = place.path.parent.parent == folder.parent
    name = place.path.stem if of_run else fingerprint(str(place.path.absolute()))[:16]
    return folder / f"{name}.parquet"


def _state(place: Source) -> str | None:
    """What the images are made from; None where that cannot be looked at, or they are there no more."""
    if place.discarded:
        return None
    try:
        return listing([place])
    except EncodeError:
        return None


def _read(file: Path, state: str | None) -> dict[str, bytes]:
    """What is kept, where it is of this `state` (None: of whichever); nothing where that is damaged."""
    import pyarrow.parquet as pq

    if not file.exists():
        return {}
    try:
        table = pq.ParquetFile(file).read(["where", "webp"])
        made_from = (table.schema.metadata or {}).get(_MADE_FROM, b"").decode()
        pairs = zip(table["where"].to_pylist(), table["webp"].to_pylist(), strict=True)
        return {} if state is not None and made_from != state else dict(pairs)
    except parquet_errors():
        return {}


def _write(file: Path, found: Mapping[str, bytes], state: str | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"where": pa.array(found.keys(), pa.string()), "webp": pa.array(found.values(), pa.binary())}
    table = pa.table(columns).replace_schema_metadata({_MADE_FROM: (state or "").encode()})
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file) as temporary:
        pq.write_table(table, temporary, compression="none")
