"""Published vectors: 2000 rows out of millions, from the disk and over HTTP ranges, by the command itself.

python -m benchmarks.precomputed                            # 10 M x 768 float16: 16 GB, then removed
python -m benchmarks.precomputed --rows 1000000 --keep DIR  # fewer; kept in DIR, and used again from there
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIMENSION = 768
PART = 1_000_000  # rows in one pair of files, as LAION published its vectors
BLOCK = 50_000  # vectors that are drawn; the rest repeats them
HOSTS = 20_000
COMMAND = """
import re, sys
from pathlib import Path
from visunex.pipeline.cli import main
try:
    main(sys.argv[1:])
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


# --- the data ----------------------------------------------------------------------------------------------


def write_part(folder: Path, number: int, rows: int) -> pa.Array:
    """One pair of files in clip-retrieval's layout; returns the URLs."""
    rng = np.random.default_rng(number)
    vectors, metadata = (folder / kind / f"{kind}_{number}" for kind in ("img_emb", "metadata"))
    with vectors.with_suffix(".npy").open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (rows, DIMENSION)}
        np.lib.format.write_array_header_1_0(file, header)
        drawn = rng.standard_normal((BLOCK, DIMENSION), np.float32)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        data = memoryview(drawn.astype("<f2")).cast("B")
        for left in range(rows, 0, -BLOCK):
            file.write(data[: min(left, BLOCK) * DIMENSION * 2])
        forget(file.fileno())
    urls = links(rng, rows)
    table = pa.table(
        {
            "image_path": numbers(rng, rows, 9),
            "caption": drawn_from([f"a picture of {words(rng)}" for _ in range(5000)], rng, rows),
            "NSFW": drawn_from(["UNLIKELY", "UNSURE", "NSFW"], rng, rows),
            "similarity": pa.array(rng.normal(0.3, 0.03, rows)),
            "url": urls,
            "width": pa.array(rng.integers(200, 4000, rows)),
            "height": pa.array(rng.integers(200, 4000, rows)),
        }
    )
    path = metadata.with_suffix(".parquet")
    pq.write_table(table, path)  # with pandas' and clip-retrieval's defaults: snappy, groups of a million
    with path.open("rb") as file:
        forget(file.fileno())
    return urls


def links(rng: np.random.Generator, rows: int) -> pa.Array:
    """URLs of some 80 bytes, with hosts of Zipf's frequencies and a random number in each."""
    import pyarrow.compute as pc

    hosts = pa.array([f"https://{words(rng, '-')}{n}.example.com/uploads/" for n in range(HOSTS)])
    chosen = hosts.take(pa.array(np.minimum(rng.zipf(1.3, rows), HOSTS) - 1))
    return pc.binary_join_element_wise(chosen, numbers(rng, rows, 32), "-large.jpg", "")


def numbers(rng: np.random.Generator, rows: int, digits: int) -> pa.Array:
    """Random texts of so many hexadecimal digits."""
    text = rng.bytes(rows * ((digits + 1) // 2)).hex().encode()[: rows * digits]
    offsets = np.arange(rows + 1, dtype=np.int32) * digits
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))


def words(rng: np.random.Generator, between: str = " ") -> str:
    return between.join(rng.choice(["rose", "garden", "old", "house", "river", "blue", "photo"], 3))


def drawn_from(pool: Sequence[str], rng: np.random.Generator, rows: int) -> pa.Array:
    return pa.array(pool).take(pa.array(rng.integers(0, len(pool), rows)))


def forget(descriptor: int) -> None:
    """Onto the disk and out of the page cache, so that what is read later is read from the disk."""
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def write_data(folder: Path, rows: int) -> None:
    """The folder of vectors, and a selection of random rows of it in `selected.parquet`."""
    for kind in ("img_emb", "metadata"):
        (folder / kind).mkdir(parents=True)
    wanted: list[str] = []
    for number, begin in enumerate(range(0, rows, PART)):
        count = min(PART, rows - begin)
        urls = write_part(folder, number, count)
        picked = np.random.default_rng(number).choice(count, min(count, 10_000), replace=False)
        wanted += urls.take(pa.array(picked)).to_pylist()
    order = np.random.default_rng(0).permutation(len(wanted))
    pq.write_table(pa.table({"url": [wanted[at] for at in order]}), folder / "links.parquet")


def write_run(folder: Path, data: Path, top: int) -> None:
    """A run whose filter has selected rows one third of which have no vector, and `top` of which have one."""
    links = pq.read_table(data / "links.parquet")["url"].to_pylist()[: top + top // 2]
    links[1::3] = [f"{link}?gone" for link in links[1::3]]
    folder.mkdir(parents=True)
    ranks = range(len(links))
    table = {"key": [f"{rank:08d}" for rank in ranks], "url": links, "caption": ["a picture"] * len(links)}
    table |= {"score": [7 - rank / 1e5 for rank in ranks]}
    pq.write_table(pa.table(table), folder / "selected.parquet")
    (folder / "recipe.toml").write_text(f'name = "bench"\n[filter]\ntop = {top}\n', encoding="utf-8")


# --- the server --------------------------------------------------------------------------------------------


@dataclass
class Moved:
    """What a server sent, by kind of file."""

    vectors: int = 0
    metadata: int = 0
    requests: int = 0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Moved]]:
    """The folder behind an address that answers ranges, and what it has sent."""
    moved, lock = Moved(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a body must not wait for the acknowledgement of its headers

        def do_GET(self) -> None:
            path = folder / self.path.lstrip("/")
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if not path.is_file() or wanted is None:
                self.send_error(404 if wanted else 400)
                return
            size = path.stat().st_size
            begin, end = int(wanted[1]), min(int(wanted[2]) + 1, size)
            with path.open("rb") as file:
                body = os.pread(file.fileno(), end - begin, begin)
            with lock:
                moved.requests += 1
                moved.vectors += len(body) if "img_emb" in self.path else 0
                moved.metadata += len(body) if "metadata" in self.path else 0
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", moved
    finally:
        server.shutdown()
        server.server_close()


# --- measuring ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """One run of the command, with all that it loads."""

    taken: int
    seconds: float
    peak_mb: float


def measure(run: Path, place: str) -> Measured:
    """`visunex-data encode --precomputed`, from start to end."""
    command = ["encode", "--run", str(run), "--precomputed", place, "--json"]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COMMAND, *command], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    peak = int(done.stderr.split()[-1]) / 1024
    return Measured(json.loads(done.stdout)["precomputed"], seconds, peak)


def column_bytes(folder: Path) -> int:
    """What the metadata's column of links takes in the files, with their footers."""
    total = 0
    for path in (folder / "metadata").iterdir():
        about = pq.read_metadata(path)
        groups = (about.row_group(group) for group in range(about.num_row_groups))
        at = about.schema.names.index("url")
        total += about.serialized_size + sum(group.column(at).total_compressed_size for group in groups)
    return total


def report(data: Path, rows: int, top: int) -> None:
    """Print the section."""
    with tempfile.TemporaryDirectory() as name:
        for run in ("cold", "http"):
            write_run(Path(name) / run, data, top)
        local = measure(Path(name) / "cold", str(data))
        with serving(data) as (address, moved):
            remote = measure(Path(name) / "http", address)
    size = sum(path.stat().st_size for path in data.rglob("*_*.*"))
    print(
        f"## Published vectors: {top:,} out of {rows:,}\n\n`visunex-data encode --precomputed`, the whole "
        f"command from its start; {-(-rows // PART)} pairs of files as clip-retrieval lays them out, "
        f"{DIMENSION} x float16, {size / 1e9:.1f} GB, not in the page cache before the first run.\n"
    )
    print("| from | rows looked through | vectors taken | seconds | peak memory |\n|---|---|---|---|---|")
    for where, done in (("disk", local), ("HTTP ranges, loopback", remote)):
        print(f"| {where} | {rows:,} | {done.taken:,} | {done.seconds:.1f} | {done.peak_mb:.0f} MB |")
    wanted, column = remote.taken * DIMENSION * 2, column_bytes(data)
    print(
        f"\nOver HTTP {moved.requests:,} requests moved {moved.vectors / 1e6:.1f} MB of vectors, "
        f"{moved.vectors / wanted:.2f} times the size of those wanted ({wanted / 1e6:.1f} MB), and "
        f"{moved.metadata / 1e6:.0f} MB of metadata, {moved.metadata / column:.3f} times its column of links "
        "and footers."
    )


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--top", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="make the data here, or use what is here")
    options = parser.parse_args(argv)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="visunex-bench-"))
    try:
        if not (folder / "links.parquet").exists():
            write_data(folder, options.rows)
        report(folder, options.rows, options.top)
    finally:
        if options.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
