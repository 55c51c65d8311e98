"""Files of metadata, every format and packing; a run's filter over them."""

import gzip
import io
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from filtering import SCHEMA, rows, select

from ..loader import Seed, loader


def _table() -> pl.DataFrame:
    return rows("a rose", None, '5" of "it"', "two\nlines", "é\ufffd", *["flower"] * 30)


def _zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def _text(kind: str) -> bytes:
    made = _table()
    one_line = made.with_columns(pl.col("TEXT").str.replace_all("\n", " "))
    return {
        "csv": lambda: made.write_csv(),
        "tsv": lambda: one_line.write_csv(separator="\t"),
        "jsonl": lambda: made.with_columns(x=pl.struct("WIDTH", "hash")).write_ndjson(),
        "txt": lambda: "https://h/1.jpg\nhttps://h/2.jpg\n" * 20,
    }[kind]().encode()


def _plain_and_packed(kind: str) -> Callable[[Path], Iterable[Seed]]:
    def seeds(_: Path) -> Iterable[Seed]:
        data = _text(kind)
        yield Seed(f"x.{kind}", data)
        for suffix, pack in (("gz", gzip.compress), ("zst", _zst)):
            yield Seed(f"x.{kind}.{suffix}", data, pack, kind if kind == "jsonl" else "text")
            yield Seed(f"x.{kind}.{suffix}", pack(data), form="binary")

    return seeds


def _arrow(_: Path) -> Iterable[Seed]:
    table = _table().to_arrow()
    for name, compression in (("x.arrow", "uncompressed"), ("z.arrow", "zstd"), ("l.feather", "lz4")):
        buffer = io.BytesIO()
        pyarrow.feather.write_feather(table, buffer, compression=compression)
        yield Seed(name, buffer.getvalue())
    nested = pa.table({
        "url": pa.array(["a", "b"]).dictionary_encode(),
        "x": [[1, None], []],
        "y": [{"a": 1}, None],
        "caption": pa.array(["c", "d"], pa.large_string()),
        "v": pa.array(["long enough to be elsewhere", "d"], pa.string_view()),
    })  # fmt: skip
    for each in (table, nested):
        for new in (pa.ipc.new_stream, pa.ipc.new_file):
            sink = pa.BufferOutputStream()
            with new(sink, each.schema) as writer:
                writer.write_table(each)
            yield Seed("s.arrow", sink.getvalue().to_pybytes())
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(table, buffer, version=1)
    yield Seed("v1.feather", buffer.getvalue())


def _parquet(_: Path) -> Iterable[Seed]:
    for compression in ("snappy", "zstd", "uncompressed", "gzip"):
        buffer = io.BytesIO()
        _table().write_parquet(buffer, compression=compression)
        yield Seed("x.parquet", buffer.getvalue())
    label = {"names": ["a", "b"], "_type": "ClassLabel"}
    said = json.dumps({"info": {"features": {"hash": label, "kinds": {"feature": label, "_type": "List"}}}})
    table = _table().with_columns(kinds=pl.concat_list("hash")).to_arrow()
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": said}), buffer, compression="none")
    yield Seed("x.parquet", buffer.getvalue())


def _sqlite(folder: Path) -> Iterable[Seed]:
    path = folder / "made.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (url TEXT, caption, score)")
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", _table().select("URL", "TEXT", "hash").rows())
    database.execute("CREATE VIEW w AS SELECT url, caption || url AS more FROM t")
    database.commit()
    yield Seed("x.sqlite", path.read_bytes())
    database.execute("PRAGMA journal_mode=WAL")
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", [("https://h/1.jpg", "a", 1)] * 99)
    database.commit()
    main, log = path.read_bytes(), path.with_name("made.sqlite-wal").read_bytes()
    database.close()
    (folder / "wal").mkdir(exist_ok=True)
    yield Seed("wal/x.sqlite", main)
    yield Seed("wal/x.sqlite-wal", log)


def _convert(path: Path, convert: Callable[..., Any]) -> None:
    from visunex.pipeline.metadata.formats.records import AS_USUAL

    path = path.with_name(path.name.removesuffix("-wal"))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        convert(path, Path(folder), AS_USUAL)


def _here(path: Path) -> None:
    from visunex.pipeline.metadata.formats.to_parquet import convert_here

    _convert(path, convert_here)


def _in_use(path: Path) -> None:
    from visunex.pipeline.metadata.formats import convert_file

    _convert(path, convert_file)


def _json(_: Path) -> Iterable[Seed]:
    """One value each: an array, an object with a list, a page of the Hub's viewer."""
    found = rows("a rose", None, '5" of "it"').select("URL", "TEXT", "similarity", id="hash").to_dicts()
    page = {
        "features": [{"name": "kind", "type": {"names": ["a", "b"], "_type": "ClassLabel"}}],
        "rows": [{"row": {"image": {"src": "https://h/1.jpg"}, "kind": n}} for n in range(3)],
    }
    for value in (found, {"info": {"n": 1}, "images": found}, page):
        for indent in (None, 1):
            data = json.dumps(value, indent=indent).encode()
            yield Seed("x.json", data)
            yield Seed("x.json", data, form="text")
        yield Seed("x.json.gz", data, gzip.compress, "text")


for _kind in ("csv", "tsv", "jsonl", "txt"):
    loader(f"metadata {_kind}", _plain_and_packed(_kind))(_here)  # Python's own readers: in this process
loader("metadata json", _json)(_here)
for _kind, _seeds in (("arrow", _arrow), ("parquet", _parquet), ("sqlite", _sqlite)):
    loader(f"metadata {_kind}", _seeds, in_use=_in_use)(_here)


@loader("filter parquet", _parquet, share=0.15)
def _filter(path: Path) -> None:
    select(path.parent / "run", path, keywords=["rose"], where="WIDTH > 9", overwrite=True)


def _conditions(_: Path) -> Iterable[Seed]:
    for text in (
        "WIDTH > 500 AND (TEXT LIKE '%rose%' OR HEIGHT <= 2 * WIDTH)",
        "AESTHETIC_SCORE BETWEEN 5 AND 7 AND NOT TEXT IS NULL",
        "LENGTH(TEXT) < 90 AND LOWER(URL) ~ 'jpg$' OR hash IN (1, 2, 3)",
        "CASE WHEN WIDTH > 1 THEN CAST(HEIGHT AS FLOAT) / WIDTH > 0.5 ELSE TRUE END",
        "STRPOS(CONCAT(TEXT, URL), 'a') > 0 AND COALESCE(punsafe, 0) < .5 AND ABS(hash) % 2 = 0",
        "SUBSTR(TEXT, 2, 3) = 'abc' OR TEXT || 'x' <> REVERSE(TEXT) OR ROUND(similarity, 2) = 0.3",
    ):
        yield Seed("where.txt", text.encode())


def _where_in_use(path: Path) -> None:
    """A condition that fails on some row is said by the filter."""
    _table().write_parquet(path.parent / "x.parquet")
    text = path.read_bytes().decode(errors="replace")
    select(path.parent / "run", path.parent / "x.parquet", where=text, overwrite=True)


@loader("--where", _conditions, in_use=_where_in_use)
def _where(path: Path) -> None:
    from visunex.pipeline.filter.conditions import where

    text = path.read_bytes().decode(errors="replace")
    _table().filter(where(text, SCHEMA))
