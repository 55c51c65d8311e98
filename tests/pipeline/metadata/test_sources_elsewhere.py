"""Metadata of other formats behind an address, and data sets through Hugging Face `datasets`."""

import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from filtering import rows, select
from standin import Page, StandIn, serving

from visunex.net import addresses
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata import convert as conversion
from visunex.pipeline.metadata.resolve import resolve_source

METADATA = rows("rose", None, 'a, "quoted" rose', "oak\nrose")


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
    assert select(tmp_path / "run", address, keywords=["oak"], overwrite=True)[0].selected == 1
    assert len(web.asked) == 1, "it was looked at, not fetched again"
    web.pages[f"/{name}"].headers["ETag"] = '"two"'
    select(tmp_path / "run", address, keywords=["oak"], overwrite=True)
    assert len(web.asked) == 3


CSV = METADATA.write_csv().encode()
CUT = {"Content-Length": str(len(CSV) + 10), "Connection": "close"}


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(status=404), "not found (HTTP 404)"),
        (
            Page(b"<!doctype html><p>sign in", headers={"Content-Type": "text/html"}),
            "the server sends text/html",
        ),
        (Page(b""), "is not a parquet file"),
        (Page(CSV, ranges=False, headers=CUT), "broke off"),
        (Page(gzip.compress(CSV)[:-20]), "cannot be fetched whole"),
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
    ("name", "value", "said"),
    [
        ("LARGEST", 100, "is larger than"),
        ("SPARE", 1 << 60, "would fill the disk"),
    ],
)
def test_what_is_fetched_is_guarded(
    web: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object, said: str
) -> None:
    """A bomb (its size is counted unpacked), and a full disk."""
    web.pages["/m.csv.gz"] = Page(gzip.compress(CSV))
    monkeypatch.setattr(conversion, name, value)
    with pytest.raises(SourceError, match=said):
        select(tmp_path / "run", f"{web.address}/m.csv.gz")


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
    tree = [{"type": "file", "path": f"data/{name}.csv.gz", "oid": name} for name in "ab"]
    web.pages["/api/datasets/someone/pictures/tree/main?recursive=true"] = Page(json.dumps(tree).encode())
    for entry in tree:
        page = Page(gzip.compress(CSV.replace(b"example.org", entry["oid"].encode())))
        web.pages[f"/datasets/someone/pictures/resolve/main/{entry['path']}"] = page
    report, _ = select(tmp_path / "run", "hf://datasets/someone/pictures/data/*.csv.gz")
    assert (report.rows, report.files) == (8, 2)


# --- Hugging Face datasets ---


def data_set():  # type: ignore[no-untyped-def]
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets.Dataset.from_polars(METADATA.with_columns(picture=pl.lit(b"not metadata")))


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    """Read as it is, without `datasets`: the files it names, not what else lies there."""
    data_set().save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "saved/cache-0123.arrow").write_bytes(b"a leftover of map()")
    report, found = select(tmp_path / "run", tmp_path / "saved", keywords=["rose"])
    assert (report.rows, report.files) == (4, 2)
    assert found["caption"].to_list() == ["rose", 'a, "quoted" rose', "oak\nrose"]


def test_splits_that_datasets_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {"train": data_set(), "test": data_set().select([0])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "both")
    assert select(tmp_path / "a", tmp_path / "both")[0].rows == 4
    assert select(tmp_path / "b", tmp_path / "both/test")[0].rows == 1
    (tmp_path / "both/dataset_dict.json").write_text('{"splits": ["one", "two"]}')
    with pytest.raises(SourceError, match="several splits: give the folder of one, one, two"):
        resolve_source(str(tmp_path / "both"))
    (tmp_path / "both/dataset_dict.json").write_text('{"splits": [{}]}')
    with pytest.raises(SourceError, match="JSON files are broken"):
        resolve_source(str(tmp_path / "both"))


def loading_folder(path: Path) -> Path:
    """A folder in the form that `load_dataset` takes: two splits, and a script that must not run."""
    (path / "data").mkdir(parents=True)
    METADATA.write_csv(path / "data/train-0.csv")
    METADATA.head(1).write_csv(path / "data/test-0.csv")
    return path


def test_a_folder_through_datasets(tmp_path: Path) -> None:
    folder = loading_folder(tmp_path / "folder")
    report, found = select(tmp_path / "run", f"datasets://{folder}", keywords=["rose"])
    assert report.rows == 4
    assert found["caption"].to_list() == ["rose", 'a, "quoted" rose', "oak\nrose"]
    assert select(tmp_path / "test", f"datasets://{folder}?split=test")[0].rows == 1
    before = resolve_source(f"datasets://{folder}").identity
    METADATA.head(2).write_csv(folder / "data/test-0.csv")
    assert resolve_source(f"datasets://{folder}").identity != before


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?split=none", "has no split 'none': name one of train, test"),
        ("?config=none", "cannot be read by datasets"),
        ("?other=1", "is not of the form datasets://OWNER/NAME"),
        ("/nowhere", "there is no folder"),
    ],
)
def test_what_datasets_cannot_read_is_said(tmp_path: Path, query: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        select(tmp_path / "run", f"datasets://{loading_folder(tmp_path / 'folder')}{query}")


def test_a_script_in_a_data_set_never_runs(tmp_path: Path) -> None:
    folder = loading_folder(tmp_path / "evil")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(SourceError, match="scripts are no longer supported"):
        select(tmp_path / "run", f"datasets://{folder}")
    assert not (tmp_path / "ran").exists()


def test_without_the_extra_one_sentence_says_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SourceError, match=r"not here: pip install 'visunex\[datasets\]'"):
        resolve_source(f"datasets://{tmp_path}")
    monkeypatch.undo()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "3.6.0")
    with pytest.raises(SourceError, match=r"may run code .* pip install -U 'visunex\[datasets\]'"):
        resolve_source(f"datasets://{tmp_path}")


def test_a_name_on_the_hub_is_pinned_to_its_commit(
    web: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    web.pages["/api/datasets/someone/pictures/revision/main"] = Page(b'{"sha": "abc"}')
    bare, named = resolve_source("someone/pictures"), resolve_source("datasets://someone/pictures")
    assert bare.identity == named.identity == [{"data set": "datasets://someone/pictures", "commit": "abc"}]
    with pytest.raises(SourceError, match="no such data set, or it is private"):
        resolve_source("someone/else")
    (tmp_path / "someone").mkdir()
    with pytest.raises(SourceError, match="no file, folder or known data set 'someone/pictures'"):
        resolve_source("someone/pictures")


def test_a_data_set_on_the_hub_through_datasets(web: StandIn, tmp_path: Path) -> None:
    """By the Hub's HTTP interface as `datasets` asks it, in a process that knows no other Hub."""
    commit, name = "0123456789012345678901234567890123456789", "data/train.csv"
    entry = {"type": "file", "path": name, "size": len(CSV), "oid": "f" * 40}
    about = {"id": "someone/pictures", "sha": commit, "siblings": [{"rfilename": name}], "private": False,
             "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
    base = "/api/datasets/someone/pictures"
    for page in (base, f"{base}/revision/main", f"{base}/revision/{commit}"):
        web.pages[page] = Page(json.dumps(about).encode())
    folder = {"type": "directory", "path": "data", "size": 0, "oid": "e" * 40}
    web.pages[f"{base}/tree/{commit}"] = Page(json.dumps([folder]).encode())
    web.pages[f"{base}/tree/{commit}/data"] = Page(json.dumps([entry]).encode())
    for absent in ("README.md", "pictures.py", ".huggingface.yaml", "dataset_infos.json"):
        page = Page(status=404, headers={"X-Error-Code": "EntryNotFound"})
        web.pages[f"/datasets/someone/pictures/resolve/{commit}/{absent}"] = page
    file = Page(CSV, headers={"ETag": f'"{"f" * 40}"', "X-Repo-Commit": commit})
    web.pages[f"/datasets/someone/pictures/resolve/{commit}/{name}"] = file
    environment = {
        **os.environ,
        "HF_ENDPOINT": web.address,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "0",
    }
    command = [sys.executable, "-m", "visunex.pipeline.cli", "filter", "someone/pictures"]
    command += ["--keywords", "rose", "--run", str(tmp_path / "run"), "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr + "\n".join(map(str, web.asked))
    assert json.loads(done.stdout)["selected"] == 3
