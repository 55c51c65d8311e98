"""Thousands of pictures by a cluster, their run and metadata in a bucket, and its nodes killed."""

import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from ray_nodes import Nodes, PictureHost, cluster, picture_host
from s3_server import BUCKET, s3_server

from visunex.base.storage import Store, working_folder
from visunex.demo import TINY_MODEL
from visunex.demo.world import World as DemoWorld

pytestmark = pytest.mark.slow  # some minutes

TOP, ROWS = 5000, 5200
SAME = ("selected.parquet", "embedding.pt")
RECIPE = f"""name = "many"
[filter]
keywords = ["flower"]
top = {TOP}
[download]
shard_size = 100
host_connections = 16
allow_private = true
[encode]
model = "{TINY_MODEL}"
workers = 0
"""


@dataclass(frozen=True)
class World:
    """A host with pictures, what lists them in a bucket, and a run of this machine alone."""

    host: PictureHost
    source: str
    recipe: Path
    local: Path


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    (folder / "many.toml").write_text(RECIPE)
    with picture_host(dead=lambda number: number % 40 == 7) as host:
        scores = [10 - (row * 7919 % ROWS) / ROWS for row in range(ROWS)]  # in another order than the rows
        rows = {"URL": [f"{host.address}/{row}" for row in range(ROWS)], "score": scores}
        pl.DataFrame({**rows, "TEXT": "a flower"}).write_parquet(folder / "m.parquet")
        Store(f"s3://{BUCKET}/metadata").put(folder / "m.parquet", "m.parquet")
        found = World(host, f"s3://{BUCKET}/metadata/m.parquet", folder / "many.toml", folder / "local")
        done("run", str(found.recipe), f"--set=source.data={folder / 'm.parquet'}", "--run", str(found.local))
        yield found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"s3://{BUCKET}/runs/{tmp_path.name}"


def started(stage: str, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "visunex.pipeline", stage, *more, "--json"]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **how)  # type: ignore[call-overload, no-any-return]


def ended(process: "subprocess.Popen[str]") -> dict[str, dict[str, dict[str, int]]]:
    out, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return json.loads(out)  # type: ignore[no-any-return]


def done(stage: str, *more: str) -> dict[str, dict[str, dict[str, int]]]:
    return ended(started(stage, *more))


def by_ray(nodes: Nodes, run: str) -> tuple[str, ...]:
    return "--run", run, "--engine", "ray", "--ray-address", nodes.address


def require_same(run: str, world: World, folder: Path) -> None:
    """What is in the bucket is what this machine alone makes, each picture in it once."""
    there = Store(run)
    for name in there.listed():
        there.fetch(name, folder / name)
    for name in SAME:
        assert (folder / name).read_bytes() == (world.local / name).read_bytes(), name
    theirs, ours = (
        pl.read_parquet(each / "downloaded.parquet").filter("chosen") for each in (folder, world.local)
    )
    assert theirs.equals(ours)  # what was fetched beyond these is a matter of moments
    chosen = theirs["key"].to_list()
    assert len(chosen) == TOP
    parts = sorted((folder / "vectors" / "metadata").iterdir())
    encoded = [key for part in parts for key in pl.read_parquet(part)["key"].to_list()]
    assert sorted(encoded) == sorted(chosen)
    packed = list[str]()
    for path in (folder / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            packed += [name.removesuffix(".jpg") for name in tar.getnames() if name.endswith(".jpg")]
    assert len(packed) == len({*packed})
    assert {*chosen} <= {*packed}


def test_a_run_in_a_bucket_by_a_cluster_is_that_of_this_machine(
    world: World, run: str, tmp_path: Path
) -> None:
    with cluster() as nodes:
        report = done("run", str(world.recipe), f"--set=source.data={world.source}", *by_ray(nodes, run))
    assert len(report["download"]["nodes"]) == 2
    require_same(run, world, tmp_path / "back")


def test_the_demo_by_a_cluster_and_a_bucket_is_that_of_this_machine(run: str, tmp_path: Path) -> None:
    hanging = [entry.path for entry in DemoWorld().entries if entry.fate == "hanging"]
    in_time = " AND ".join(f"URL NOT LIKE '%{path}'" for path in hanging)  # which a busy machine decides
    recipe = ("demo_flower", f"--set=filter.where={in_time}", "--set=download.deadline=60")
    done("run", *recipe, "--run", str(tmp_path / "here"))
    with cluster() as nodes:
        done("run", *recipe, *by_ray(nodes, run))
    for name in SAME:
        assert Store(run).read(name) == (tmp_path / "here" / name).read_bytes(), name


def test_nodes_killed_at_five_moments_lose_no_picture_and_repeat_none(
    world: World, run: str, tmp_path: Path
) -> None:
    moments, metadata = random.Random(23), working_folder(run) / "vectors" / "metadata"
    asked, parts = (sorted(moments.sample(range(20, 80), count)) for count in (3, 2))  # per cent of the work
    done("filter", world.source, "--recipe", str(world.recipe), "--run", run)
    with cluster() as nodes:

        def at_work(stage: str, how_far: Callable[[], float], kills: list[int]) -> None:
            driver = started(stage, *by_ray(nodes, run))
            for moment in kills:
                while how_far() < moment and driver.poll() is None:
                    time.sleep(0.05)
                assert driver.poll() is None, driver.communicate()
                nodes.lose(moments.randrange(2))
                nodes.add()
            ended(driver)

        before = world.host.asked
        at_work("download", lambda: 100 * (world.host.asked - before) / ROWS, asked)
        at_work("encode", lambda: 100 * len([*metadata.glob("*.parquet")]) / (ROWS / 100), parts)
    require_same(run, world, tmp_path / "back")
