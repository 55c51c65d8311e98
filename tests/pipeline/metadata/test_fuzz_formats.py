"""Mutated metadata of every format: rows, or a named failure. A fixed seed; VISUNEX_FUZZ says how many."""

import contextlib
import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from filtering import rows, select

from visunex.base.errors import VisunexError
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.formats import convert_file

COUNT = int(os.environ.get("VISUNEX_FUZZ", "1000")) // 10
SECONDS = 10 + COUNT  # of all inputs of a format: far more than they take

pytestmark = pytest.mark.fuzz

# Reads every file that it is given in this one process, and says which it has done: the next one ended it.
READ_ALL = """
import sys, tempfile
from pathlib import Path
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.formats.records import AS_USUAL
from visunex.pipeline.metadata.formats.to_parquet import convert_here
for path in map(Path, sys.argv[1:]):
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        try:
            convert_here(path, Path(folder), AS_USUAL)
        except SourceError as error:
            assert path.name in str(error), error
    print(path, flush=True)
"""


def seed(name: str, folder: Path) -> bytes:
    made = rows("a rose", None, '5" of "it"', "two\nlines", "é\ufffd", *["flower"] * 30)
    match name.split(".")[1]:
        case "csv":
            data = made.write_csv().encode()
        case "tsv":
            data = (
                made.with_columns(pl.col("TEXT").str.replace_all("\n", " "))
                .write_csv(separator="\t")
                .encode()
            )
        case "jsonl":
            data = made.with_columns(x=pl.struct("WIDTH", "hash")).write_ndjson().encode()
        case "arrow":
            made.write_ipc(folder / name)
            data = (folder / name).read_bytes()
        case "parquet":
            made.write_parquet(folder / name)
            data = (folder / name).read_bytes()
        case "sqlite":
            import sqlite3

            with sqlite3.connect(folder / name) as database:
                database.execute("CREATE TABLE t (url TEXT, caption, score)")
                database.executemany(
                    "INSERT INTO t VALUES (?, ?, ?)", made.select("URL", "TEXT", "hash").rows()
                )
            database.close()
            data = (folder / name).read_bytes()
        case _:
            data = b"https://h/1.jpg\nhttps://h/2.jpg\n" * 20
    packed = {"gz": gzip.compress, "zst": lambda whole: pa.compress(whole, codec="zstd", asbytes=True)}
    return bytes(packed.get(name.rpartition(".")[2], bytes)(data))


def mutated(data: bytes, dice: random.Random) -> bytes:
    bent = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        at = int(len(bent) * dice.choice([dice.random(), 0.1 * dice.random(), 1 - 0.1 * dice.random()]))
        match dice.randrange(5):
            case 0:
                bent[at : at + 1] = dice.randbytes(1)
            case 1:
                bent[at : at + 4] = dice.choice(
                    [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\x94\x35\x77"]
                )
            case 2:
                bent[at:at] = dice.choice(
                    [b'"', b"\r", b"\n", b"\t", b",", b"{", b"[" * 9000, b"\\ud800", b"\xff"]
                )
            case 3:
                bent[at:at] = bent[max(0, at - dice.randint(1, 400)) : at]
            case _:
                del bent[at : at + dice.randint(1, 400)]
    return bytes(bent)


@pytest.mark.parametrize("name", [
    "x.csv", "x.csv.gz", "x.csv.zst", "x.tsv", "x.txt", "x.jsonl", "x.jsonl.gz", "x.arrow", "x.parquet",
    "x.sqlite",
])  # fmt: skip
def test_a_mutated_file_gives_rows_or_a_named_failure(tmp_path: Path, name: str) -> None:
    dice, whole = random.Random(name), seed(name, tmp_path)
    waiting = [tmp_path / f"{number}{name}" for number in range(COUNT)]
    for path in waiting:
        path.write_bytes(mutated(whole, dice))
    while waiting:
        command = [sys.executable, "-c", READ_ALL, *map(str, waiting[:1000])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        waiting = waiting[len(done.stdout.splitlines()) :]
        assert done.returncode <= 0, done.stderr
        if done.returncode < 0:  # a signal: in use, it ends the process that converts, which is said
            with pytest.raises(SourceError, match=waiting[0].name):
                convert_file(waiting[0], tmp_path / "out")
            waiting = waiting[1:]


def test_mutated_parquet_is_filtered_or_a_named_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dice, whole = random.Random(14), seed("x.parquet", tmp_path)
    for _ in range(COUNT // 2):
        (tmp_path / "x.parquet").write_bytes(mutated(whole, dice))
        with contextlib.suppress(VisunexError):
            select(tmp_path / "run", tmp_path / "x.parquet", keywords=["rose"], overwrite=True)
    assert "panicked" not in capfd.readouterr().err
