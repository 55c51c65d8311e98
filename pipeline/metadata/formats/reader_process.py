"""Conversion in a process of its own: what libraries of C and Rust make of a damaged file ends only that one.

`convert_file` starts it and watches how much memory it takes; run as a module, this file is that process.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from visunex.base.files import atomic
from visunex.recipes import Columns

from ...errors import SourceError
from ...workers import module_command, start
from ..filetypes import Kind, kind_of
from ..footers import File, labelled, remarks_on_labels
from .records import AS_USUAL, Reading, Tally
from .to_parquet import convert_here, parts_in

__all__ = ["convert_file", "convert_to"]

MOST_MEMORY = 3 << 29  # bytes resident: what is taken between two looks comes on top
_NATIVE: frozenset[Kind] = frozenset({"arrow", "parquet", "sqlite"})  # what is not parsed by Python
_LOOK = 0.05  # seconds between two looks at the memory


def convert_file(path: Path, folder: Path, reading: Reading = AS_USUAL) -> Tally:
    """Convert a file to parquet parts in `folder`; what became of its rows. Raises SourceError, naming it."""
    if kind_of(path) not in _NATIVE:
        return convert_here(path, folder, reading)
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"columns": reading.columns.model_dump(), "names": reading.names, "address": reading.address}
    command = (*module_command(__name__), str(path), str(folder), json.dumps(asked))
    with tempfile.TemporaryFile() as said:
        process = start(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL)
        try:
            too_large = _watch(process)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        return _outcome(path, process.returncode, said.read(), too_large)


def _watch(process: "subprocess.Popen[bytes]") -> bool:
    """Wait for the process; True when it took too much memory and was ended."""
    while True:
        try:
            process.wait(_LOOK)
            return False
        except subprocess.TimeoutExpired:
            if _resident(process.pid) > MOST_MEMORY:
                return True


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds and that it shares with no file; 0 where that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * 4096 if len(fields) > 2 else 0


def _outcome(path: Path, code: int, said: bytes, too_large: bool) -> Tally:
    if too_large:
        raise SourceError(
            f"{path} takes more than {MOST_MEMORY / (1 << 30):.2g} GiB of memory to read: is it metadata? If "
            "it is, write it in smaller record batches or row groups"
        )
    try:
        answer = json.loads(said)
    except ValueError:
        ended = signal.Signals(-code).name if code < 0 else f"exit {code}"
        raise SourceError(f"{path} is damaged: what reads such files broke down on it ({ended})") from None
    if "error" in answer:
        raise SourceError(answer["error"])
    return Tally(answer["read"], Counter(answer["dropped"]), answer["remarks"], answer["located"])


def convert_to(path: Path, target: Path, reading: Reading = AS_USUAL) -> Tally:
    """Convert a file to one parquet file, whatever its blocks hold; returns the rows. Raises SourceError."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".visunex-") as name:
        tally = convert_file(path, Path(name), reading)
        if tally.located:
            raise SourceError(f"{path} has the pictures inside: `visunex-data filter` takes it as it is")
        files = [_labelled(part) for part in parts_in(Path(name))]
        if not files:
            raise SourceError(f"{path} has no rows")
        tally.remarks += remarks_on_labels(files)
        parts = [_rows(each) for each in files]
        with atomic(target) as temporary:
            pl.concat(parts, how="diagonal_relaxed").sink_parquet(temporary)
    return tally


def _labelled(part: str) -> File:
    rows = pl.scan_parquet(part, glob=False)
    return labelled(part, rows.collect_schema(), lambda: rows)


def _rows(file: File) -> pl.LazyFrame:
    """A file's rows, with the names of class labels."""
    rows = pl.scan_parquet(file.path, glob=False)
    return rows if file.labels is None else file.labels.located(rows)


def _main(path: str, folder: str, asked: str) -> None:
    settings = json.loads(asked)
    reading = Reading(
        Columns.model_validate(settings["columns"]), tuple(settings["names"]), settings["address"]
    )
    answer: dict[str, Any]
    try:
        tally = convert_here(Path(path), Path(folder), reading)
        answer = {**asdict(tally), "dropped": dict(tally.dropped)}
    except SourceError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _main(*sys.argv[1:])
