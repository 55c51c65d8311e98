"""Scale: filter of very many rows, here and through ranges; Ray clusters of one node and of two.

python -m benchmarks.scale                                     # 64 files of a million rows; 8000 links
python -m benchmarks.scale --files 2 --rows 100000 --ranged 100000 --links 300 --pictures 300
"""

import argparse
import contextlib
import functools
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from benchmarks._nginx import AT_ONCE, RANGE, nginx, plain_rate
from benchmarks.filter import PART, measured, write_metadata

LATENCY = 0.2  # seconds that a server takes for each answer
IN_FLIGHT = 32  # requests, in all
ENCODED = ("--model", "visunex-tiny", "--batch-size", "8", "--workers", "0", "--exact-decode")
SIDE, DRAWN = 1024, 64  # of pictures, and how many are drawn
STORE = 80 << 20  # bytes of a node's object store, which nothing of ours is put into


# --- filter ------------------------------------------------------------------------------------------------


def many_rows(folder: Path, files: int, rows: int) -> str:
    """Rows a second and peak memory of filter over so many files."""
    parts = -(-rows // PART)
    names = [folder / f"{number:03d}.parquet" for number in range(files)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(write_metadata, names, [rows] * files, range(0, files * parts, parts)))
    size = sum(path.stat().st_size for path in names) / 1e9
    os.sync()  # else what was written just now is written meanwhile
    found = in_words(measured("visunex", folder), files * rows)
    return f"Filter, {files * rows:,} rows in {files} files ({size:.1f} GB): {found}."


def in_words(found: dict[str, float], rows: int) -> str:
    """What filter took for so many rows."""
    rate = rows / found["seconds"]
    return f"{found['seconds']:.1f} s, {rate:,.0f} rows/s, {found['peak_mb']:.0f} MB at the peak"


def through_ranges(folder: Path, rows: int) -> str:
    """The same rows from the disk and through ranges from nginx, and what nginx gives a plain client."""
    if shutil.which("nginx") is None:
        return "Through ranges: nginx is not installed, so nothing was measured."
    name, server = "rows.parquet", folder / "server"
    (folder / "served").mkdir()
    write_metadata(folder / "served" / name, rows)
    size = (folder / "served" / name).stat().st_size
    os.sync()
    here = in_words(measured("visunex", folder / "served" / name), rows)
    with nginx(folder / "served", server) as far:
        os.environ["SSL_CERT_FILE"] = str(far.certificate)
        there = measured("visunex", f"{far.address}/{name}")
        sent = far.sent()
        plain = plain_rate(far, name, size)
        del os.environ["SSL_CERT_FILE"]
    return (
        f"One file of {rows:,} rows ({size / 1e6:.0f} MB): {here}. Through ranges, over https:// from "
        f"nginx: {in_words(there, rows)}; {sent / 1e6:.0f} MB were sent, "
        f"{sent / 1e6 / there['seconds']:.0f} MB/s. A client that throws away what comes takes "
        f"{plain / 1e6:.0f} MB/s, in {AT_ONCE} ranges of "
        f"{RANGE >> 20} MiB at a time."
    )


# --- download and encode -----------------------------------------------------------------------------------


class Far(ThreadingHTTPServer):
    """A server of pictures that answers late, and notes when it was asked."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.times: list[float] = []
        self.latency = 0.0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Processes that fetched may end without a word."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Far

    def do_GET(self) -> None:
        self.server.times.append(time.monotonic())
        time.sleep(self.server.latency)
        data = picture(int(self.path.strip("/")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def picture(number: int) -> bytes:
    """A picture whose file no other number has; few are drawn, so that the server has little to do."""
    start, comment = drawn(number % DRAWN), str(number).encode()
    return start[:2] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment + start[2:]


@functools.cache
def drawn(number: int) -> bytes:
    """A JPEG of SIDE x SIDE pixels."""
    data, noise = io.BytesIO(), random.Random(number).randbytes(3 * 16 * 16)
    Image.frombytes("RGB", (16, 16), noise).resize((SIDE, SIDE)).save(data, "jpeg")
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


def command(stage: str, run: Path, *options: str) -> float:
    """The seconds that `visunex-data STAGE` takes; one thread a process."""
    program = [sys.executable, "-m", "visunex.pipeline", stage, "--run", str(run), *options, "--json"]
    began = time.perf_counter()
    subprocess.run(program, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - began


@dataclass(frozen=True)
class Measured:
    """Of an engine: links and pictures a second without start-up, and both commands' seconds with it."""

    links: float
    pictures: float | None
    seconds: float | None


class Job:
    """What each engine is given: links to fetch from a server that is far away, and shards to encode."""

    def __init__(self, folder: Path, server: Far, links: int, pictures: int) -> None:
        import polars as pl

        self._folder, self._server, self._links = folder, server, links
        names = range(max(links, pictures))
        rows = {"URL": [f"{server.address}/{each}" for each in names], "TEXT": ["a flower"] * len(names)}
        pl.DataFrame(rows).write_parquet(folder / "links.parquet")
        self._selected, self._shards = folder / "selected", folder / "shards"
        for run, top in ((self._selected, links), (self._shards, pictures)):
            command("filter", run, str(folder / "links.parquet"), "--top", str(top))
        self._fetch(self._shards, "--processes", "2")
        server.latency = LATENCY

    def _fetch(self, run: Path, *more: str) -> float:
        self._server.times.clear()
        fixed = ("--allow-private", "--shard-size", "100", "--host-connections", str(IN_FLIGHT))
        return command("download", run, *fixed, *more)

    def measure(self, name: str, processes: int, *engine: str) -> Measured:
        """Fetch and encode with an engine, on so many processes."""
        run, shards = self._folder / f"{name} fetched", self._folder / f"{name} encoded"
        shutil.copytree(self._selected, run)
        shutil.copytree(self._shards, shards)
        here = engine or ("--processes", str(processes))
        seconds = self._fetch(run, "--threads", str(IN_FLIGHT // processes), *here)
        links = self._links / (max(self._server.times) - min(self._server.times))
        print(f"  {name}: fetched", file=sys.stderr, flush=True)
        if not engine and processes > 1:  # this machine's engine encodes on a processor in one process
            return Measured(links, None, None)
        seconds += command("encode", shards, *ENCODED, *engine)
        print(f"  {name}: encoded", file=sys.stderr, flush=True)
        return Measured(links, steady_rate(shards / "vectors" / "img_emb"), seconds)


def steady_rate(vectors: Path) -> float | None:
    """Vectors a second, by when parts of them were written: the first and last fifth of these left out.

    None of so few parts that this says nothing.
    """
    import numpy as np

    parts = sorted(vectors.iterdir(), key=lambda path: path.stat().st_mtime)
    edge = len(parts) // 5
    within = parts[edge : len(parts) - edge]
    if len(within) < 3:
        return None
    seconds = within[-1].stat().st_mtime - within[0].stat().st_mtime
    return sum(len(np.load(part, mmap_mode="r")) for part in within[1:]) / max(seconds, 1e-9)


def of_nodes(folder: Path, links: int, pictures: int) -> str:
    """A table of this machine's engine, a cluster of one node and one of two, and how they compare."""
    server = Far()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    job = Job(folder, server, links, pictures)
    made = {
        (here := f"this machine, {named(count, 'process')}"): job.measure(here, count) for count in (1, 2)
    }
    for nodes in (1, 2):
        name = f"Ray, {named(nodes, 'node')}"
        with cluster(nodes) as address:
            made[name] = job.measure(name, nodes, "--engine", "ray", "--ray-address", address)
    server.shutdown()
    return "\n".join([*table(made), "", *targets(*made.values())])


def named(count: int, what: str) -> str:
    """So many, in words."""
    return f"{count} {what}{'' if count == 1 else 'es' if what.endswith('s') else 's'}"


def table(made: dict[str, Measured]) -> Iterator[str]:
    """The lines of a table."""
    yield "| engine | links/s | pictures encoded/s | seconds of both, with start-up |"
    yield "|---|---|---|---|"
    for name, each in made.items():
        encoded = "" if each.pictures is None else f"{each.pictures:.1f}"
        seconds = "" if each.seconds is None else f"{each.seconds:.0f}"
        yield f"| {name} | {each.links:.1f} | {encoded} | {seconds} |"


def targets(alone: Measured, both: Measured, one: Measured, two: Measured) -> Iterator[str]:
    """What was aimed at, and what it is: one process and two here, one node and two."""
    yield f"Links/s of two nodes against two processes here: {two.links / both.links:.2f} (at least 0.90)."
    yield f"Encoding by two nodes against one: {_ratio(two.pictures, one.pictures)} (at least 1.6)."
    long = _ratio(one.seconds, alone.seconds)
    yield f"Time of the job on one node against one process, start-up and all: {long} (at most 1.10)."


def _ratio(one: float | None, other: float | None) -> str:
    return f"{one / other:.2f}" if one and other else "not measured"


def main(argv: Sequence[str]) -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1_000_000, help="in each file")
    parser.add_argument("--ranged", type=int, default=4_000_000, help="rows that are read through ranges")
    parser.add_argument("--links", type=int, default=8000)
    parser.add_argument("--pictures", type=int, default=8000)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "metadata").mkdir()
        said = many_rows(folder / "metadata", options.files, options.rows)
        shutil.rmtree(folder / "metadata")
        print(f"## Scale\n\n{said}\n\n{through_ranges(folder, options.ranged)}\n", flush=True)
        print(
            f"Nodes of one core on this machine, one thread a process, {IN_FLIGHT} requests in flight in all "
            f"to a server that takes {LATENCY:.1f} s for each; rates without start-up: of links from the "
            "first request to the last, of encoding in the middle three fifths.\n"
        )
        print(of_nodes(folder, options.links, options.pictures))


if __name__ == "__main__":
    main(sys.argv[1:])
