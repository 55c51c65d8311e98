"""Metadata of other formats behind an address: fetched, converted once, found again."""

import gzip
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from filtering import rows, select
from standin import Page, StandIn, serving
from standin_hub import publish

from visunex.net import addresses
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata import convert as conversion
from visunex.pipeline.metadata.convert import as_parquet
from visunex.pipeline.metadata.resolve import resolve_source

pytestmark = pytest.mark.usefixtures("read_here")

METADATA = rows("rose", None, 'a, "quoted" rose', "oak\nrose")
CSV = METADATA.write_csv().encode()
LONG = CSV + b"http://x/9,one more\n" * 100  # more than a first look reads
CUT = {"Content-Length": str(len(LONG) + 10), "Connection": "close"}


@pytest.fixture
def web() -> Iterator[StandIn]:
    with serving({}) as server:
        yield server


def as_sqlite(folder: Path) -> bytes:
    with sqlite3.connect(folder / "made.db") as database:
        database.execute("CREATE TABLE pictures (URL, TEXT, AESTHETIC_SCORE)")
        picked = METADATA.select("URL", "TEXT", "AESTHETIC_SCORE").rows()
        database.executemany("INSERT INTO pictures VALUES (?, ?, ?)", picked)
    database.close()
    return (folder / "made.db").read_bytes()


def written(name: str, folder: Path) -> bytes:
    """The metadata as a file of that name holds it."""
    suffix = name.split(".")[1]
    sink = io.BytesIO()
    match suffix:
        case "csv":
            METADATA.write_csv(sink)
        case "jsonl":
            METADATA.write_ndjson(sink)
        case "arrow":
            METADATA.write_ipc(sink)
        case "sqlite" | "data":
            return as_sqlite(folder)
    packed = {"gz": gzip.compress, "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True)}
    return bytes(packed.get(name.rpartition(".")[2], bytes)(sink.getvalue()))


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "name", ["m.csv", "m.csv.gz", "m.csv.zst", "m.jsonl", "m.jsonl.gz", "m.arrow", "m.sqlite", "m.data"]
)
def test_other_formats_behind_an_address(web: StandIn, tmp_path: Path, name: str, ranges: bool) -> None:
    """Fetched, converted and let go once; found again as long as the server says that it is the same."""
    METADATA.write_parquet(tmp_path / "m.parquet")
    _, expected = select(tmp_path / "local", tmp_path / "m.parquet", keywords=["rose"])
    web.pages[f"/{name}"] = Page(written(name, tmp_path), ranges=ranges)
    address = f"{web.address}/{name}?signature=a%2Fb"
    report, found = select(tmp_path / "run", address, keywords=["rose"])
    assert (report.rows, report.files) == (4, 1)
    same = ["key", "url", "caption", "score"]
    assert found[same].equals(expected[same])
    assert not [path for path in (tmp_path / "run").rglob("*") if "fetched" in path.name]
    web.asked.clear()
    (tmp_path / "run" / "selected.parquet").unlink()
    assert select(tmp_path / "run", address, keywords=["oak"])[0].selected == 1
    assert len(web.asked) == 1, "it was looked at, not fetched again"
    (tmp_path / "run" / "selected.parquet").unlink()
    web.pages[f"/{name}"].headers["ETag"] = '"two"'
    select(tmp_path / "run", address, keywords=["oak"])
    assert len(web.asked) == 3
    select(tmp_path / "run", address, keywords=["oak"], overwrite=True)
    assert len(web.asked) == 5, "--overwrite trusts no copy"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(status=404), "not found (HTTP 404)"),
        (
            Page(b"<!doctype html><p>sign in", headers={"Content-Type": "text/html"}),
            "the server sends text/html",
        ),
        (Page(b""), "is not a parquet file"),
        (Page(LONG, ranges=False, headers=CUT), "broke off"),
        (Page(gzip.compress(CSV)[:-20]), "is a damaged gzip file"),
        (Page(b'URL,TEXT\nhttp://x/1,"never closed\n'), "a quote is never closed"),
        (Page(location="http://169.254.169.254/m.csv"), "m.csv"),
    ],
)
def test_what_is_wrong_behind_an_address_is_named(
    web: StandIn, tmp_path: Path, page: Page, said: str
) -> None:
    web.pages["/m.csv"] = page
    with pytest.raises(SourceError) as caught:
        select(tmp_path / "run", f"{web.address}/m.csv")
    assert said in str(caught.value)
    assert "m.csv" in str(caught.value)
    assert "fetched-" not in str(caught.value)
    assert not [path for path in (tmp_path / "run").rglob("*") if "fetched" in path.name]


@pytest.mark.parametrize(
    ("most", "spare", "said"),
    [
        (100, 0, r"is larger than 100 bytes \(--set source.max_bytes=N\)"),
        (10**9, 1 << 60, "would fill the disk"),
    ],
)
def test_what_is_fetched_is_guarded(
    web: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, spare: int, said: str
) -> None:
    """A bomb (its size is counted unpacked), and a full disk."""
    web.pages["/m.csv.gz"] = Page(gzip.compress(CSV))
    monkeypatch.setattr(conversion, "SPARE", spare)
    with pytest.raises(SourceError, match=said):
        as_parquet(resolve_source(f"{web.address}/m.csv.gz"), tmp_path, most=most)


def test_what_never_ends_is_read_up_to_the_bound(web: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ETag and date it would be read whole to know its contents."""
    web.pages["/m.csv"] = Page(CSV, headers={"ETag": "", "Last-Modified": ""})
    monkeypatch.setattr("visunex.pipeline.metadata.locate.LARGEST", len(CSV) - 1)
    with pytest.raises(SourceError, match="is larger than"):
        resolve_source(f"{web.address}/m.csv")


def test_an_outer_address_does_not_lead_to_an_inner_one(
    web: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may be fetched where it was named may not where a public server sends us."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda ip: ip == "127.0.0.2" or real(ip))
    web.pages["/m.csv.gz"] = Page(gzip.compress(CSV))
    with serving({"/m.csv.gz": Page(location=f"{web.address}/m.csv.gz")}, host="127.0.0.2") as outer:
        with pytest.raises(SourceError, match="the host's address is not public"):
            select(tmp_path / "run", f"{outer.address}/m.csv.gz")
        assert (len(outer.asked), web.asked) == (1, [])
    assert select(tmp_path / "run", f"{web.address}/m.csv.gz")[0].rows == 4


def test_other_formats_on_the_hub(web: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    files = {
        f"data/{name}.csv.gz": gzip.compress(CSV.replace(b"example.org", name.encode())) for name in "ab"
    }
    publish(web, "someone/pictures", files)
    report, _ = select(tmp_path / "run", "hf://datasets/someone/pictures/data/*.csv.gz")
    assert (report.rows, report.files) == (8, 2)
