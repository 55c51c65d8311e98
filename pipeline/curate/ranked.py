"""What is made of ranked pictures: a table, a contact sheet, a folder with the pictures themselves."""

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.base.errors import UsageError
from visunex.base.files import atomic
from visunex.base.folders import expanded
from visunex.images.thumbnails import require_sheet_format, save_sheet

from ..rundir import run_named
from ..shards.places import Source, sources
from ..shards.samples import Sample, samples
from ..shards.thumbnails import thumbnails_of
from ..vectors.store import is_vector_folder
from .placing import How, put, require_new_folder
from .take_out import places_of

__all__ = ["Wanted"]

Rows = list[dict[str, Any]]

_COLUMNS = ("rank", "cosine", "image_path", "key", "url", "caption", "file")
_TABLES = (".csv", ".parquet")
_MOST_SHOWN = 4000  # pictures on a sheet


@dataclass(frozen=True)
class Wanted:
    """What a person wants of ranked pictures: a folder to put them into, a table `out`, a `sheet`."""

    folder: tuple[How, Path] | None = None
    out: Path | None = None
    sheet: Path | None = None
    columns: int | None = None
    overwrite: bool = False

    def require_sense(self, what: str, top: int, column: str | None = None) -> None:
        """Raise UsageError, before any work, for what could not be made of these pictures."""
        if self.out is not None:
            _require_table(self.out, overwrite=self.overwrite)
        if self.sheet is not None:
            require_sheet_format(self.sheet)
            if top > _MOST_SHOWN:
                raise UsageError(f"--sheet shows at most {_MOST_SHOWN} pictures: name fewer with --top")
        if self.folder is not None:
            require_new_folder(self.folder[1], f"--{self.folder[0]}")
        if self.sheet is not None or self.folder is not None:
            _places(what, column)

    def make(self, what: str, rows: Rows, column: str | None = None) -> dict[str, Any]:
        """Make it; what a report says of it. The rows say in `file` where each picture is now.

        Raises UsageError, EncodeError.
        """
        if self.sheet is not None or self.folder is not None:
            places = _places(what, column)
            if self.sheet is not None:
                _write_sheet(places, [str(row["image_path"]) for row in rows], self.sheet, self.columns)
            if self.folder is not None:
                _put(places, rows, *self.folder)
        if self.out is not None:
            _write_table(rows, self.out)
        return {"placed": self._placed(rows), "sheet": _text(self.sheet), "out": _text(self.out)}

    def _placed(self, rows: Rows) -> dict[str, Any] | None:
        if self.folder is None:
            return None
        how, folder = self.folder
        there = sum(row["file"] is not None for row in rows)
        return {"how": how, "folder": str(folder), "pictures": there, "failed": len(rows) - there}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _places(what: str, column: str | None) -> list[Source]:
    """Where the pictures themselves lie. Raises UsageError where they are not here."""
    if "://" in what:
        raise UsageError(
            f"{what} is not on this machine: --out writes the order, fetch the pictures for more"
        )
    if is_vector_folder(expanded(what)):
        raise UsageError(f"{what} holds vectors and no pictures: name the pictures, or their run")
    run = run_named(what)
    return sources([expanded(what)], column) if run is None else places_of(what, run)


def _put(places: Sequence[Source], rows: Rows, how: How, folder: Path) -> None:
    names = {row["image_path"] for row in rows}
    found: dict[str, Sample] = {each.where: each for each in samples(places) if each.where in names}
    there = [row for row in rows if row["image_path"] in found]
    files = put([found[row["image_path"]] for row in there], folder, how)
    by_rank = {row["rank"]: file for row, file in zip(there, files, strict=True)}
    for row in rows:
        row["file"] = _text(by_rank.get(row["rank"]))


def _write_sheet(places: Sequence[Source], names: Sequence[str], target: Path, columns: int | None) -> None:
    with tempfile.TemporaryDirectory(prefix="visunex-") as folder:
        small = thumbnails_of(places, Path(folder), set(names))
    if not small:
        raise UsageError(f"--sheet {target}: none of the pictures can be shown")
    save_sheet([small.get(name) for name in names], target, columns)


def _require_table(path: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() not in _TABLES or path.is_dir():
        raise UsageError(f"--out {path}: name a .csv or .parquet")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; --overwrite replaces it")


def _write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The rows in their order, as CSV or parquet of the same columns."""
    with atomic(path) as temporary:
        if path.suffix.lower() == ".csv":
            with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                writer = csv.DictWriter(file, _COLUMNS, restval="")
                writer.writeheader()
                writer.writerows(rows)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"rank": pa.int64(), "cosine": pa.float64()}
        columns = {
            name: pa.array([row.get(name) for row in rows], kinds.get(name, pa.string())) for name in _COLUMNS
        }
        pq.write_table(pa.table(columns), temporary)
