"""A run's chosen pictures taken out: a folder, WebDataset or parquet that other programs read as it is."""

import contextlib
import hashlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from visunex.base.files import fingerprint
from visunex.base.progress import Progress
from visunex.base.text import size_shown
from visunex.images.errors import ImageError
from visunex.images.resize import Resize, ResizeMode, resize
from visunex.images.thumbnails import require_sheet_format, save_sheet, thumbnail
from visunex.images.validate import suffix_of
from visunex.net.stream import is_address

from ..errors import EncodeError, UsageError, parquet_errors
from ..rundir import RunDir, run_named
from ..shards.members import LeftOut
from ..shards.places import Source, sources
from ..shards.samples import Sample, partitions
from .exemplars import Exemplar
from .exemplars import exemplars as exemplars_of
from .placing import require_new_folder
from .writers import FolderWriter, ParquetWriter, TarWriter, Writer

__all__ = ["Form", "ResizeMode", "TakenOut", "places_of", "take_out"]

Form = Literal["folder", "wds", "parquet"]
Taken = tuple[Sample, Mapping[str, Any]]  # a picture, and what the run says of it

_WRITERS: Mapping[Form, Callable[[Path], Writer]] = {
    "folder": FolderWriter,
    "wds": TarWriter,
    "parquet": ParquetWriter,
}
_UNFINISHED = ".visunex-unfinished"
_DIGITS = 5
_STORES = ("hf://", "s3://")


@dataclass(frozen=True)
class TakenOut:
    """How many `images` of how many bytes were taken out; `failed` are those left out, by reason.

    Of `exemplars` their group, how many images are in it, their link and licence.
    """

    out: str
    form: Form
    images: int
    bytes: int
    failed: dict[str, int]
    exemplars: tuple[dict[str, Any], ...] = ()
    sheet: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """For a person."""
        lines = [f"{self.out}: {self.images:,} picture{'s' * (self.images != 1)}, {size_shown(self.bytes)}"]
        lines += [
            f"  {count:,} left out: {reason.replace('_', ' ')}" for reason, count in self.failed.items()
        ]
        lines += map(_exemplar_line, self.exemplars)
        return "\n".join([*lines, f"  sheet: {self.sheet}"] if self.sheet else lines)


def _exemplar_line(said: Mapping[str, Any]) -> str:
    about = f"{said['license'] or 'no licence said'}  {said['url'] or ''}".rstrip()
    return f"  group {said['group']}, the most typical of {said['images']:,}: {said['where']}  {about}"


def take_out(
    what: str,
    form: Form,
    out: Path,
    *,
    shuffle: int | None = None,
    size: int | None = None,
    mode: ResizeMode = "shortest",
    exemplars: int | None = None,
    sheet: Path | None = None,
) -> TakenOut:
    """Copy the pictures that a run has chosen, best first, or all of a place, to a new or empty folder.

    A picture's bytes are what the run has, or with a `size` in pixels a smaller JPEG. `shuffle` is the
    seed of another order. What cannot be read is left out and counted. With `exemplars` only one picture of
    each of so many groups is taken, the most typical, and a `sheet` shows them. Raises UsageError (`out` is
    not empty, there are no pictures), EncodeError (what cannot be read at all).
    """
    for given, there in ((form, _WRITERS), (mode, get_args(ResizeMode))):
        if given not in there:
            raise UsageError(f"{given!r} is none of {', '.join(there)}")
    require_new_folder(out, "--out")
    if out.resolve() == Path.cwd():
        raise UsageError(f"--out {out} is the folder that you are in: name a new one")
    resized = None if size is None else Resize(size, mode)
    failed: Counter[str] = Counter()
    found = _found(what, failed)
    typical = _exemplars(what, exemplars, sheet)
    if typical:
        by_name = {sample.where: (sample, row) for sample, row in found}
        found = [by_name[each.where] for each in typical if each.where in by_name]
    if shuffle is not None:
        found.sort(key=lambda each: fingerprint([shuffle, each[0].key, each[0].where]))
    unfinished = out.with_name(f".{out.name}{_UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)  # what an earlier one, that was killed, left
    unfinished.mkdir(parents=True)
    try:
        with contextlib.closing(_WRITERS[form](unfinished)) as writer:
            sizes = [*_written(found, writer, resized, failed)]
        if not sizes:
            raise EncodeError(f"{what} has no picture that can be read ({dict(failed)})")
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if sheet is not None:
        save_sheet([_small(sample) for sample, _ in found], sheet)
    shown = tuple(_of_exemplar(each, found) for each in typical)
    return TakenOut(
        str(out), form, len(sizes), sum(sizes), dict(failed), shown, None if sheet is None else str(sheet)
    )


def _exemplars(what: str, count: int | None, sheet: Path | None) -> list[Exemplar]:
    """The exemplars that are wanted, if any are."""
    if count is None:
        if sheet is not None:
            raise UsageError(
                f"--sheet is for --exemplars; `visunex-data show {what} --sheet {sheet}` shows all"
            )
        return []
    if sheet is not None:
        require_sheet_format(sheet)
    return exemplars_of(what, count)


def _of_exemplar(exemplar: Exemplar, found: Iterable[Taken]) -> dict[str, Any]:
    row = next((row for sample, row in found if sample.where == exemplar.where), {})
    link = row.get("url")
    return {
        **asdict(exemplar),
        "license": row.get("license"),
        "url": link if link and is_address(link) else None,
    }


def _small(sample: Sample) -> bytes | None:
    try:
        return thumbnail(sample.read())
    except ImageError:
        return None


def _found(what: str, failed: Counter[str]) -> list[Taken]:
    """The pictures in their order, each with what the run says of it."""
    run = run_named(what)
    rows = {} if run is None else _rows(run)
    found = []
    left_out = LeftOut()
    for part in partitions(places_of(what, run), left_out):
        failed.update({"missing_from_shard": len(part.missing)} if part.missing else {})
        found += [(each, rows.get(each.key, {})) for each in part.samples]
    failed.update({"damaged_file": len(left_out.damaged)} if left_out.damaged else {})
    if not found:
        raise UsageError(f"{what} has no picture to take out")
    return found


def places_of(what: str, run: RunDir | None) -> list[Source]:
    """Where the pictures lie. Raises EncodeError, also where a run discarded them; UsageError."""
    if run is None and "://" in what:
        raise UsageError(
            f"{what} is no run; only of runs in a bucket, and of this machine, are pictures taken out"
        )
    if run is None:
        return sources([what])
    if run.shards.is_dir():
        return sources([run.path])
    made: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        made = dict(json.loads(run.provenance.read_text(encoding="utf-8")))
    if given := made.get("pictures"):  # they were given with `encode --images`
        return sources(given)
    also = " --with-pictures" if made.get("precomputed") else ""  # vectors were enough until now
    raise UsageError(
        f"{run.path} has no pictures yet: run `visunex-data download --run {run.path}{also}` first"
    )


def _rows(run: RunDir) -> dict[str, Mapping[str, Any]]:
    """What a run says of its chosen pictures, by key; nothing where nothing was downloaded."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not run.downloaded.exists():
        return {}
    report = run.reports().get("filter", {})
    of_license, of_all = report.get("license_column"), report.get("licence")
    try:
        there = pq.read_schema(run.downloaded).names
        columns = ["key", *(name for name in ("caption", "score", "url", of_license) if name in there)]
        table = pq.read_table(run.downloaded, columns=columns, filters=pc.field("chosen"))
    except parquet_errors() as error:
        raise EncodeError(
            f"{run.downloaded} cannot be read ({error}); run `visunex-data download` again"
        ) from None
    return {str(row["key"]): {**row, "license": row.get(of_license) or of_all} for row in table.to_pylist()}


def _written(
    found: Iterable[Taken],
    writer: Writer,
    resized: Resize | None,
    failed: Counter[str],
) -> Iterator[int]:
    """Write the pictures that can be read; the bytes of each."""
    found = list(found)
    digits = max(_DIGITS, len(str(len(found) - 1)))
    number = 0
    with Progress("pictures", len(found), unit="pictures") as shown:
        for sample, row in found:
            try:
                data = sample.read()
                data = data if resized is None else resize(data, resized).data
                name = f"{number:0{digits}d}.{suffix_of(data)}"
            except ImageError as error:
                failed[error.kind] += 1
                continue
            writer.add(name, data, _said(sample, row, data))
            number += 1
            shown.update(number)
            yield len(data)


def _said(sample: Sample, row: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """What is said of a picture, under the names that other programs know."""
    link, score = row.get("url", sample.url), row.get("score", sample.score)
    license_ = row.get("license")
    return {
        "text": row.get("caption", sample.caption) or "",
        "score": None if score is None or not math.isfinite(score) else float(score),
        "license": None if license_ is None else str(license_),
        "url": link if link and (is_address(link) or link.startswith(_STORES)) else None,  # no paths of here
        "key": sample.key,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
