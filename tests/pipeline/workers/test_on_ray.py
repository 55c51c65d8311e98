"""Work on the nodes of a Ray cluster: what it gives, how polite it is, and what becomes of lost nodes.

`ray.cluster_utils.Cluster`, by which several nodes stand on one machine, is Ray's own and may change: it is
asked for `add_node`, `remove_node`, `address` and `shutdown`.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from visunex.demo import TINY_MODEL
from visunex.pipeline import download_images, encode_images, filter_metadata

COUNT, SHARD = 60, 10
SAME = ("selected.parquet", "downloaded.parquet", "embedding.pt")


class Counting(ThreadingHTTPServer):
    """A host with pictures that counts how many are asked for at the same time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.counting, self.open, self.most, self.asked = threading.Lock(), 0, 0, 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Counting

    def do_GET(self) -> None:
        with self.server.counting:
            self.server.open, self.server.asked = self.server.open + 1, self.server.asked + 1
            self.server.most = max(self.server.most, self.server.open)
        time.sleep(0.1)
        number = int(self.path.strip("/"))
        data = io.BytesIO()
        Image.new("RGB", (48, 48), (4 * number, 255 - 4 * number, 90)).save(data, "png")
        with self.server.counting:
            self.server.open -= 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(data.getvalue())))
        self.end_headers()
        self.wfile.write(data.getvalue())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[Counting]:
    server = Counting()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory, host: Counting) -> Path:
    path = tmp_path_factory.mktemp("metadata") / "m.parquet"
    rows = {"URL": [f"{host.address}/{row}" for row in range(COUNT)], "TEXT": ["a flower"] * COUNT}
    pl.DataFrame({**rows, "score": [10 - row / 10 for row in range(COUNT)]}).write_parquet(path)
    return path


PROGRAM = """import sys
from ray.cluster_utils import Cluster
small = {"object_store_memory": 80 << 20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
print("cluster at", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()"""


class Nodes:
    """A cluster of a head and two nodes of one core, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
        self.address = self._line("cluster at ")

    def _line(self, begin: str) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith(begin):
                return line.removeprefix(begin).strip()
        raise AssertionError("the cluster ended")

    def lose_one(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._line("removed")

    def stop(self) -> None:
        self._process.communicate("")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    found = Nodes()
    yield found
    found.stop()


def command(nodes: Nodes, stage: str, run: Path, *more: str) -> list[str]:
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


def test_a_cluster_gives_the_same_bytes_and_is_as_polite_as_one_machine(
    nodes: Nodes, selected: Path, local: Path, host: Counting, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(selected, run)
    host.most = host.asked = 0
    report = done(command(nodes, "download", run, *FETCHED))
    assert host.most <= 3
    assert host.asked == COUNT
    assert len(report["nodes"]) == 2
    assert sum(each["shards"] for each in report["nodes"].values()) == COUNT // SHARD
    assert sum(each["pictures"] for each in report["nodes"].values()) == COUNT
    assert json.loads((run / "report.json").read_text())["download"]["nodes"] == report["nodes"]
    assert done(command(nodes, "encode", run, *ENCODED))["encoded_now"] == COUNT
    require_same(run, local)


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


@pytest.mark.slow
def test_a_lost_node_and_a_stopped_driver_lose_no_picture(
    selected: Path, local: Path, tmp_path: Path
) -> None:
    nodes = Nodes()
    try:
        run = tmp_path / "run"
        shutil.copytree(selected, run)
        for stop in (signal.SIGINT, signal.SIGKILL):
            driver = subprocess.Popen(command(nodes, "download", run, *FETCHED), stderr=subprocess.DEVNULL)
            time.sleep(9)
            driver.send_signal(stop)
            assert driver.wait(60) == (130 if stop == signal.SIGINT else -signal.SIGKILL)
        driver = subprocess.Popen(command(nodes, "download", run, *FETCHED), stderr=subprocess.DEVNULL)
        time.sleep(8)
        nodes.lose_one()
        assert driver.wait(200) == 0
        done(command(nodes, "encode", run, *ENCODED))
        require_same(run, local)
    finally:
        nodes.stop()


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
