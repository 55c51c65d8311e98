"""Runs at addresses in an object store, by a real server of S3: what they give, and what goes on where."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from downloads import pictures
from s3_server import BUCKET, s3_server

from visunex.aesthetic_embeddings import EmbeddingError, find, load
from visunex.base.files import write_bytes
from visunex.base.storage import Store
from visunex.demo import TINY_MODEL
from visunex.demo.server import DemoServer
from visunex.demo.world import World, metadata_bytes
from visunex.pipeline import curate_run, download_images, encode_images, filter_metadata, run_recipe
from visunex.pipeline.errors import RunBusyError
from visunex.pipeline.rundir import RunDir, run_at, run_named

WORLD = World(rows=120)
RUN = f"s3://{BUCKET}/runs/a"
SAME = ("selected.parquet", "embedding.pt")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The metadata of a demo world that is served."""
    demo = DemoServer(WORLD)
    threading.Thread(target=demo.serve_forever, args=(0.05,), daemon=True).start()
    path = tmp_path_factory.mktemp("world") / "m.parquet"
    write_bytes(path, metadata_bytes(demo.address, WORLD))
    yield path
    demo.shutdown()
    demo.server_close()


@pytest.fixture
def other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def made(metadata: Path, run: str | Path, top: int = 8) -> None:
    run_recipe(
        name="small",
        source=metadata,
        run=run,
        filter={"keywords": ("flower", "tree"), "top": top},
        download={"allow_private": True, "processes": 1, "shard_size": 10},
        encode={"model": TINY_MODEL, "workers": 0},
    )


def there(address: str) -> dict[str, bytes]:
    store = Store(address)
    return {name: store.read(name) for name in store.listed()}


def put_all(folder: Path, address: str) -> None:
    for path in (each for each in folder.rglob("*") if each.is_file()):
        Store(address).put(path, path.relative_to(folder).as_posix())


def require_same(address: str, folder: Path) -> None:
    found = there(address)
    assert {name: found[name] for name in SAME} == {name: (folder / name).read_bytes() for name in SAME}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, metadata: Path) -> Path:
    run = tmp_path_factory.mktemp("local") / "run"
    made(metadata, run)
    return run


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, metadata: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("machine")))
        made(metadata, RUN)
    return RUN


def test_a_run_in_a_bucket_is_the_run_in_a_folder(stored: str, local: Path) -> None:
    require_same(stored, local)
    found = there(stored)
    assert {name for name in found if name.startswith("shards/")} == {
        f"shards/{path.name}" for path in (local / "shards").iterdir()
    }
    assert not {name for name in found if name.endswith(("tmp", "lock", "holder.json"))}


def test_another_machine_goes_on_and_asks_for_more(
    stored: str, local: Path, tmp_path: Path, other_machine: None, metadata: Path
) -> None:
    shutil.copytree(local, tmp_path / "local")
    for run in (tmp_path / "local", stored):
        made(metadata, run, top=12)
    require_same(stored, tmp_path / "local")


def test_a_run_that_began_here_goes_on_there_and_back(
    local: Path, tmp_path: Path, other_machine: None, metadata: Path
) -> None:
    address = f"s3://{BUCKET}/copied"
    begun = tmp_path / "begun"
    shutil.copytree(local, begun)
    (begun / "embedding.pt").unlink()
    shutil.rmtree(begun / "vectors")
    put_all(begun, address)
    made(metadata, address)
    require_same(address, local)
    back = tmp_path / "back"
    for name, data in there(address).items():
        write_bytes(back / name, data)
    made(metadata, back)
    require_same(address, back)
    assert RunDir(back).reports()["download"]["shards_made_now"] == 0  # nothing was fetched again


def test_stages_one_by_one_and_what_reads_a_run(
    metadata: Path, tmp_path: Path, other_machine: None, stored: str
) -> None:
    assert filter_metadata(metadata, run=f"s3://{BUCKET}/f", keywords=["flower"], top=3).top == 3
    taste = f"s3://{BUCKET}/tastes/me.pt"
    encode_images(stored, out=taste, model=TINY_MODEL, workers=0)
    write_bytes(tmp_path / "me.pt", Store(taste.rpartition("/")[0]).read("me.pt"))
    assert load(tmp_path / "me.pt").dimension == 768
    (curated,) = curate_run(stored, tmp_path / "c.pt", drop_atypical=0.2)
    assert curated.dropped
    ranked = filter_metadata(
        metadata,
        run=tmp_path / "r",
        like=["a flower"],
        top=3,
        precomputed=f"{stored}/vectors",
        model=TINY_MODEL,
    )
    assert ranked.selected
    assert run_named(f"s3://{BUCKET}/no/run") is None


def test_a_second_driver_is_told_who_is_at_work(stored: str, other_machine: None, tmp_path: Path) -> None:
    program = (
        "import sys; from visunex.pipeline.rundir import run_at\n"
        "with run_at(sys.argv[1]).locked(): print('held', flush=True); sys.stdin.read()"
    )
    for cache, said in (
        (tmp_path / "cache", "runs-a-.* is in use by"),
        (tmp_path / "b", "its lease of 60 s"),
    ):
        driver = subprocess.Popen(
            [sys.executable, "-c", program, stored],
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with driver:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "held\n"
            with pytest.raises(RunBusyError, match=said), run_at(stored).locked():
                pass
            driver.communicate("")


def test_commands_call_a_run_by_its_address(stored: str, tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "visunex.pipeline", *arguments]
        env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        found = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        assert "Traceback" not in found.stderr
        return f"{found.returncode} {found.stdout}{found.stderr}"

    assert f"{stored}/report.html" in said("show", stored, "--no-open")
    none = said("download", "--run", f"s3://{BUCKET}/none")
    assert none.startswith(f"1 Error: there is no s3://{BUCKET}/none/recipe.toml")
    assert said("encode", "--run", "s3://no-bucket/x").startswith(
        "1 Error: s3://no-bucket/x cannot be listed"
    )


def test_a_run_there_is_a_source_and_a_baseline_as_one_here_is(
    local: Path, tmp_path: Path, other_machine: None
) -> None:
    put_all(local, stored := f"s3://{BUCKET}/as-here")
    like: dict[str, Any] = {"like": ["a tree"], "top": 3}
    theirs = filter_metadata(stored, run=tmp_path / "theirs", **like)
    ours = filter_metadata(local, run=tmp_path / "ours", **like)
    chosen = [pl.read_parquet(tmp_path / name / "selected.parquet") for name in ("theirs", "ours")]
    assert theirs.selected == ours.selected
    assert chosen[0]["url"].to_list() == chosen[1]["url"].to_list()
    assert {place.partition("/shards/")[0] for place in chosen[0]["location"]} == {stored}
    assert download_images(tmp_path / "theirs", processes=1).chosen == 3
    assert len(pictures(RunDir(tmp_path / "theirs"))) >= 3
    shard = f"{stored}/shards/00000.tar"
    made = {}
    for name, baseline in (("run", stored), ("here", str(local)), ("tar", shard)):
        how = {"model": TINY_MODEL, "workers": 0, "reduce": "contrast", "baseline": baseline}
        encode_images(local / "shards" / "00001.tar", run=tmp_path / name, **how)
        made[name] = (tmp_path / name / "embedding.pt").read_bytes()
    assert made["run"] == made["here"] != made["tar"]


def test_an_embedding_there_is_found_by_its_address(local: Path, other_machine: None) -> None:
    put_all(local, stored := f"s3://{BUCKET}/tastes/a")
    assert np.array_equal(find(stored).vector, load(local / "embedding.pt").vector)
    assert find(f"{stored}/embedding.pt").name == "a"
    with pytest.raises(EmbeddingError, match=f"no embedding at s3://{BUCKET}/no/such.pt"):
        find(f"s3://{BUCKET}/no/such.pt")
