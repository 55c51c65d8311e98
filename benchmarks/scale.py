"""Scale: filter of very many rows on one machine, and Ray clusters of one and two nodes against this engine.

python -m benchmarks.scale                                     # 64 files of a million rows; 2000 links
python -m benchmarks.scale --files 2 --rows 100000 --links 100 --pictures 64
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.filter import measured, write_metadata

LATENCY = 0.2  # seconds that a server takes for each answer
IN_FLIGHT = 32  # requests, in all
STORE = 80 << 20  # bytes of a node's object store, which nothing of ours is put into


# --- filter ------------------------------------------------------------------------------------------------


def many_rows(folder: Path, files: int, rows: int) -> str:
    """Rows a second and peak memory of filter over so many files."""
    for number in range(files):
        write_metadata(folder / f"{number:03d}.parquet", rows)
        print(f"  written: {number + 1} of {files} files", file=sys.stderr, flush=True)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e9
    found = measured("visunex", folder)
    rate = files * rows / found["seconds"]
    return (
        f"Filter, {files * rows:,} rows in {files} files ({size:.1f} GB), on this machine: "
        f"{found['seconds']:.1f} s, {rate:,.0f} rows/s, {found['peak_mb']:.0f} MB at the peak."
    )


# --- download and encode -----------------------------------------------------------------------------------


class Far(ThreadingHTTPServer):
    """A server of pictures that answers late, and notes when the first and the last were asked for."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.times: list[float] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Far

    def do_GET(self) -> None:
        self.server.times.append(time.monotonic())
        time.sleep(LATENCY)
        data = picture(int(self.path.strip("/")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def picture(number: int) -> bytes:
    """A small picture that no other number has."""
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (224, 224), (number % 256, number // 256 % 256, 90)).save(data, "jpeg")
    return data.getvalue()


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The address of a head and so many nodes of one core on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    found = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes):
        found.add_node(num_cpus=1, object_store_memory=STORE)
    try:
        yield found.address
    finally:
        found.shutdown()


def command(stage: str, run: Path, *options: str) -> dict[str, Any]:
    """What `visunex-data STAGE` reports; one thread a process."""
    program = [sys.executable, "-m", "visunex.pipeline", stage, "--run", str(run), *options, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def fetched(server: Far, selected: Path, run: Path, processes: int, *engine: str) -> float:
    """Seconds from the first request to the last: start-up left out."""
    shutil.copytree(selected, run)
    server.times.clear()
    threads = ("--threads", str(IN_FLIGHT // processes), "--host-connections", str(IN_FLIGHT))
    command("download", run, "--allow-private", "--shard-size", "10", *threads, *engine)
    return max(server.times) - min(server.times)


def encoded(run: Path, pictures: Path, *engine: str) -> float:
    """Seconds of encode, start-up included."""
    shutil.copytree(pictures, run)
    model = ("--model", "visunex-tiny", "--batch-size", "8", "--workers", "0")
    return float(command("encode", run, *model, *engine)["seconds"])


def of_nodes(folder: Path, links: int, pictures: int) -> list[str]:
    """Rows of a table: this machine's engine, a cluster of one node and one of two."""
    import polars as pl

    server = Far()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    names = range(max(links, 2 * pictures))
    rows = {"URL": [f"{server.address}/{each}" for each in names], "TEXT": ["a flower"] * len(names)}
    pl.DataFrame(rows).write_parquet(folder / "links.parquet")
    runs: dict[int, Path] = {}
    for count in {links, pictures, 2 * pictures}:
        runs[count] = folder / f"selected-{count}"
        command("filter", runs[count], str(folder / "links.parquet"), "--top", str(count))
    shards = {count: folder / f"shards-{count}" for count in (pictures, 2 * pictures)}
    for count, run in shards.items():
        fetched(server, runs[count], run, 2, "--processes", "2")

    def measure(name: str, processes: int, *engine: str) -> str:
        here = engine or ("--processes", str(processes))
        fetch = fetched(server, runs[links], folder / f"{name}-fetched", processes, *here)
        times = [encoded(folder / f"{name}-{count}", run, *engine) for count, run in shards.items()]
        print(f"  {name}: measured", file=sys.stderr, flush=True)
        return f"| {name} | {links / fetch:.1f} | {pictures / (times[1] - times[0]):.1f} |"

    made = [measure("this machine, 1 process", 1), measure("this machine, 2 processes", 2)]
    for nodes in (1, 2):
        with cluster(nodes) as address:
            made.append(measure(f"Ray, {nodes} nodes", nodes, "--engine", "ray", "--ray-address", address))
    server.shutdown()
    return made


def main(argv: Sequence[str]) -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1_000_000, help="in each file")
    parser.add_argument("--links", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=1000)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "metadata").mkdir()
        said = many_rows(folder / "metadata", options.files, options.rows)
        shutil.rmtree(folder / "metadata")
        print(f"## Scale\n\n{said}\n")
        print(
            f"Nodes of one core on this machine, one thread a process, {IN_FLIGHT} requests in flight in all "
            f"to a server that takes {LATENCY:.1f} s for each; start-up left out.\n\n"
            "| engine | links/s | pictures encoded/s |\n|---|---|---|"
        )
        print("\n".join(of_nodes(folder, options.links, options.pictures)))


if __name__ == "__main__":
    main(sys.argv[1:])
