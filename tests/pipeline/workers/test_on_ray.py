"""Work on the nodes of a Ray cluster: what it gives, how polite it is, and what becomes of lost nodes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ray_nodes import Nodes, PictureHost, cluster, picture_host
from s3_server import BUCKET, s3_server

from visunex.base.storage import Store
from visunex.demo import TINY_MODEL
from visunex.pipeline import download_images, encode_images, filter_metadata

COUNT, SHARD = 60, 10
SAME = ("selected.parquet", "downloaded.parquet", "embedding.pt")


@pytest.fixture(scope="module")
def host() -> Iterator[PictureHost]:
    with picture_host(latency=0.1) as server:
        yield server


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory, host: PictureHost) -> Path:
    path = tmp_path_factory.mktemp("metadata") / "m.parquet"
    rows = {"URL": [f"{host.address}/{row}" for row in range(COUNT)], "TEXT": ["a flower"] * COUNT}
    pl.DataFrame({**rows, "score": [10 - row / 10 for row in range(COUNT)]}).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server():
        yield f"s3://{BUCKET}"


@pytest.fixture(scope="module")
def nodes(bucket: str) -> Iterator[Nodes]:
    with cluster() as found:
        yield found


def command(nodes: Nodes, stage: str, run: str | Path, *more: str) -> list[str]:
    engine = ("--engine", "ray", "--ray-address", nodes.address)
    return [sys.executable, "-m", "visunex.pipeline", stage, "--run", str(run), *engine, *more]


def done(arguments: list[str]) -> dict[str, Any]:
    found = subprocess.run([*arguments, "--json"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


FETCHED = ("--allow-private", "--host-connections", "3", "--shard-size", str(SHARD))
ENCODED = ("--model", TINY_MODEL, "--workers", "0", "--batch-size", "8")


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory, metadata: Path) -> Path:
    run = tmp_path_factory.mktemp("selected") / "run"
    filter_metadata(metadata, run=run, top=COUNT)
    return run


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, selected: Path) -> Path:
    run = tmp_path_factory.mktemp("local") / "run"
    shutil.copytree(selected, run)
    download_images(run, allow_private=True, processes=1, shard_size=SHARD)
    encode_images(run=run, model=TINY_MODEL, workers=0, batch_size=8)
    return run


def require_same(run: Path, local: Path) -> None:
    for name in SAME:
        assert (run / name).read_bytes() == (local / name).read_bytes(), name


def test_a_cluster_gives_a_bucket_the_same_bytes_and_is_as_polite_as_one_machine(
    nodes: Nodes,
    bucket: str,
    selected: Path,
    local: Path,
    host: PictureHost,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    there = Store(run := f"{bucket}/run")
    for path in (each for each in selected.rglob("*") if each.is_file()):
        there.put(path, path.relative_to(selected).as_posix())
    host.most = host.asked = 0
    report = done(command(nodes, "download", run, *FETCHED))
    assert host.most <= 3
    assert host.asked == COUNT
    assert len(report["nodes"]) == 2
    assert sum(each["shards"] for each in report["nodes"].values()) == COUNT // SHARD
    assert sum(each["pictures"] for each in report["nodes"].values()) == COUNT
    encoded = done(command(nodes, "encode", run, *ENCODED))
    assert encoded["encoded_now"] == sum(each["pictures"] for each in encoded["nodes"].values()) == COUNT
    said = json.loads(there.read("report.json"))
    assert [said[stage]["nodes"] for stage in ("download", "encode")] == [report["nodes"], encoded["nodes"]]
    for name in SAME:
        assert there.read(name) == (local / name).read_bytes(), name


def test_a_node_of_another_version_and_one_that_does_not_see_the_run_are_refused(
    nodes: Nodes, tmp_path: Path
) -> None:
    program = f"""
from pathlib import Path
from visunex.base.errors import VisunexError
from visunex.recipes import Engine
from visunex.pipeline.workers import on_ray
executor = on_ray.RayExecutor(Engine(name="ray", address={nodes.address!r}))
folder = Path({str(tmp_path)!r})
executor.require(folder)
code = on_ray._code()
for patched in ("_code", "_look"):
    before = getattr(on_ray, patched)
    setattr(on_ray, patched, (lambda: "other") if patched == "_code" else (lambda _: (code, False)))
    try:
        executor.require(folder)
    except VisunexError as error:
        print(error)
    setattr(on_ray, patched, before)
try:
    on_ray.ray = __import__("ray").shutdown()
    on_ray.RayExecutor(Engine(name="ray", address="127.0.0.1:1"))
except VisunexError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = found.stdout.splitlines()
    assert len(said) == 3, found.stderr
    assert "has another version of visunex than this machine" in said[0]
    assert f"does not see {tmp_path}" in said[1]
    assert said[2].startswith("no Ray cluster at 127.0.0.1:1")


def test_a_worker_that_has_nothing_to_say_keeps_no_other_waiting(nodes: Nodes, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from visunex.images.validate import Limits
from visunex.net.fetcher import FetchSettings
from visunex.pipeline.download.messages import MakerSettings
from visunex.pipeline.workers.on_ray import RayExecutor
from visunex.recipes import Engine
executor = RayExecutor(Engine(name="ray", address={nodes.address!r}, worker_cpus=0.5))
module = "visunex.pipeline.download.worker"
idle, busy = executor.start(module), executor.start(module)
assert not executor.ready([idle, busy], 1.0)  # as neither was told anything yet
assert idle.wait(1.5) == "at work still"
columns, fetch = ("url", "caption"), FetchSettings()
busy.send(MakerSettings(Path({str(tmp_path)!r}), columns, 10, 4, fetch, Limits()))
found = []
while not found:
    found = executor.ready([idle, busy], 0.25)
assert found == [busy], found
print(type(busy.receive()).__name__)
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100
    )
    assert found.stdout == "Ready\n", found.stderr


def at_work(host: PictureHost, driver: "subprocess.Popen[Any]", asked: int = 5) -> None:
    """Wait until so many more pictures were asked for; the command is to be at work still."""
    before = host.asked
    while host.asked < before + asked and driver.poll() is None:
        time.sleep(0.05)
    assert driver.poll() is None


@pytest.mark.slow
def test_a_lost_node_and_a_stopped_driver_lose_no_picture(
    selected: Path, local: Path, host: PictureHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(selected, run)
    monkeypatch.setattr(host, "latency", 0.5)
    with cluster() as nodes:
        for stop in (signal.SIGINT, signal.SIGKILL):
            driver = subprocess.Popen(command(nodes, "download", run, *FETCHED), stderr=subprocess.DEVNULL)
            at_work(host, driver)
            driver.send_signal(stop)
            assert driver.wait(60) == (130 if stop == signal.SIGINT else -signal.SIGKILL)
        driver = subprocess.Popen(command(nodes, "download", run, *FETCHED), stderr=subprocess.DEVNULL)
        at_work(host, driver)
        nodes.lose()
        assert driver.wait(200) == 0
        done(command(nodes, "encode", run, *ENCODED))
    require_same(run, local)


@pytest.mark.slow
def test_a_shard_whose_nodes_are_lost_time_and_again_is_not_at_fault(
    selected: Path, host: PictureHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(selected, run)
    one_shard = ("--allow-private", "--host-connections", "3", "--shard-size", "100", "--json")
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    monkeypatch.setattr(host, "latency", 1.0)
    with cluster() as nodes:
        driver = subprocess.Popen(command(nodes, "download", run, *one_shard), **how)
        for _ in range(3):
            at_work(host, driver, 3)
            for _ in range(2):
                nodes.lose()
                nodes.add()
        monkeypatch.setattr(host, "latency", 0.1)
        out, said = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert json.loads(out)["chosen"] == COUNT
    assert sum(each.get("lost", 0) for each in json.loads(out)["nodes"].values()) >= 3


def test_without_ray_it_is_said_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('none here')")
    program = """
from visunex.base.errors import UsageError
from visunex.recipes import Engine
from visunex.pipeline.workers.executor import LOCAL, executor_of
assert executor_of(Engine()) is LOCAL
try:
    executor_of(Engine(name="ray"))
except UsageError as error:
    print(error)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False
    )
    assert "pip install 'visunex[ray]'" in found.stdout, found.stderr
