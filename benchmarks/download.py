"""Download: against plain img2dataset on a healthy server, and alone on the web at its worst.

python -m benchmarks.download            # both tables
python -m benchmarks.download --pairs 1 --pictures 500
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from visunex.base.files import write_text
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Recipe, dumps

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "pipeline"))
import hostile

FILES = 24  # distinct pictures, so that they lie in the page cache as on a healthy server
PROCESSES, THREADS, SHARD = 2, 32, 1000
SLOW = {"timeout"}  # classes that take the whole deadline
STARTUP = 10.0  # seconds for the command and its workers to be there, on a busy machine


def picture(seed: int, side: int = 540) -> bytes:
    """A JPEG of about 200 KiB."""
    rng = random.Random(seed)
    noise = Image.frombytes("RGB", (side // 3, side // 3), rng.randbytes(side * side // 3))
    buffer = io.BytesIO()
    noise.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=93)
    return buffer.getvalue()


@contextlib.contextmanager
def healthy_server(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve `folder` on the loopback: (its base URL, its name). nginx where there is one."""
    serve = nginx if shutil.which("nginx") else plain_server
    with serve(folder) as base:
        yield base, "nginx" if serve is nginx else "Python's http.server"


@contextlib.contextmanager
def nginx(folder: Path, port: int = 8961) -> Iterator[str]:
    """nginx with two workers; `/N/anything` is file N."""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"worker_processes 2; daemon off; pid {folder}/nginx.pid; error_log /dev/null;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port} backlog=1024;\n"
        f"location ~ ^/(\\d+)/ {{ alias {folder}/$1.jpg; default_type image/jpeg; }} }} }}\n"
    )
    folder.chmod(0o755)
    process = subprocess.Popen(
        ["nginx", "-c", str(configuration), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    time.sleep(1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """Python's own server, in this process."""
    files = [(folder / f"{number}.jpg").read_bytes() for number in range(FILES)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1

        def do_GET(self) -> None:
            body = files[int(self.path.split("/")[1])]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def make_run(path: Path, urls: Sequence[str], top: int, **settings: Any) -> RunDir:
    """A run folder whose filter stage has selected `urls`."""
    path.mkdir(parents=True)
    run = RunDir(path)
    table = {
        "key": [f"{rank:08d}" for rank in range(len(urls))],
        "url": urls,
        "caption": ["a picture"] * len(urls),
    }
    pq.write_table(pa.table(table), run.selected)
    download = {
        "processes": PROCESSES,
        "threads": THREADS,
        "shard_size": SHARD,
        "allow_private": True,
        **settings,
    }
    recipe = Recipe.model_validate({"name": "benchmark", "filter": {"top": top}, "download": download})
    write_text(run.recipe, dumps(recipe))
    return run


@dataclass(frozen=True)
class Cost:
    """What a whole process and its children took, in seconds."""

    seconds: float
    cpu: float


def timed(command: Sequence[str]) -> Cost:
    """Run a command to its end."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - began, cpu)


def ours(run: RunDir, output: Path) -> Cost:
    (run.path / "shards").symlink_to(output)
    return timed([sys.executable, "-m", "visunex.pipeline.cli", "download", "--run", str(run.path)])


def theirs(run: RunDir, output: Path) -> Cost:
    options = {
        "url_list": run.selected, "input_format": "parquet", "url_col": "url", "caption_col": "caption",
        "output_folder": output, "output_format": "webdataset", "number_sample_per_shard": SHARD,
        "processes_count": PROCESSES, "thread_count": THREADS, "timeout": 30, "retries": 2,
        "disable_all_reencoding": True,
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    program = "import sys; from img2dataset.main import main; sys.argv[0] = 'img2dataset'; main()"
    return timed([sys.executable, "-c", program, *arguments])


def measured(download: Callable[[RunDir, Path], Cost], folder: Path, urls: Sequence[str]) -> Cost:
    """One download of all pictures, seen to be whole, in a folder that is gone afterwards."""
    keep = {"dedupe_images": "none", "keep_placeholders": True, "host_connections": PROCESSES * THREADS}
    run, output = make_run(folder / "run", urls, len(urls), **keep), folder / "shards"
    output.mkdir()
    cost = download(run, output)
    had = sum(json.loads(path.read_text())["successes"] for path in output.glob("*_stats.json"))
    assert had == len(urls), f"{had} of {len(urls)} pictures"
    shutil.rmtree(run.path)
    shutil.rmtree(output)
    return cost


def against_img2dataset(folder: Path, pictures: int, pairs: int) -> str:
    """A table: seconds of whole processes, in turns, and the ratio of throughputs."""
    for number in range(FILES):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    size = sum((folder / f"{number}.jpg").stat().st_size for number in range(FILES)) / FILES / 1024
    costs = []
    with healthy_server(folder) as (base, server):
        urls = [f"{base}/{number % FILES}/{number}.jpg" for number in range(pictures)]
        for pair in range(pairs):
            order = [ours, theirs] if pair % 2 == 0 else [theirs, ours]
            found = {download: measured(download, folder, urls) for download in order}
            costs.append((found[ours], found[theirs]))
    lines = [
        f"| {mine.seconds:.1f} s | {other.seconds:.1f} s | {other.seconds / mine.seconds:.2f} | "
        f"{mine.cpu:.1f} s | {other.cpu:.1f} s |"
        for mine, other in costs
    ]
    ratio = statistics.median(other.seconds / mine.seconds for mine, other in costs)
    rates = [pictures / statistics.median(pair[side].seconds for pair in costs) for side in (0, 1)]
    return (
        f"{pictures} pictures of {size:.0f} KiB from {server} on the loopback, original bytes kept, "
        f"{PROCESSES} processes of {THREADS} threads each, whole processes timed in turns.\n\n"
        "| visunex-data download | img2dataset | throughput ratio | CPU, ours | CPU, img2dataset |\n"
        "|---|---|---|---|---|\n" + "\n".join(lines) + "\n\n"
        f"Median ratio **{ratio:.2f}** ({rates[0]:.0f} against {rates[1]:.0f} pictures/s with start-up)."
    )


@dataclass(frozen=True)
class Outcome:
    """One download from the hostile server."""

    seconds: float
    bound: float
    peak_mib: float
    report: dict[str, Any]
    chosen: list[int]


def hostile_urls(base: str, count: int) -> list[str]:
    rng = random.Random(1)
    names = sorted(hostile.BEHAVIOURS)
    mixed = [rng.choice(names) if number % 2 else "good" for number in range(count)]
    rng.shuffle(mixed)
    return [f"{base}/{name}/{number}.jpg" for number, name in enumerate(mixed)]


def time_bound(urls: Sequence[str], deadline: float, shard: int, threads: int, processes: int) -> float:
    """What deadlines and concurrency imply (Graham's bound for each shard, then for the shards)."""

    def shard_bound(part: Sequence[str]) -> float:
        times = [deadline if hostile.EXPECTED[url.split("/")[3]] in SLOW else 1.0 for url in part]
        return sum(times) / threads + max(times)

    shards = [shard_bound(urls[start : start + shard]) for start in range(0, len(urls), shard)]
    return STARTUP + sum(shards) / processes + max(shards)


def memory_mib(root: int) -> float:
    """Memory of a process and its descendants, shared pages counted once (PSS)."""
    total, queue = 0, [root]
    while queue:
        pid = queue.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += map(int, (task / "children").read_text().split())
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def from_hostile(path: Path, seed: int, count: int, target: int) -> Outcome:
    deadline, shard, threads, processes = 4.0, 100, 32, 4
    with hostile.hostile(shuffle=0.3, seed=seed) as server:
        urls = hostile_urls(server.base, count)
        limits = {"max_pixels": 10**7, "host_connections": 1000, "deadline": deadline}
        run = make_run(path, urls, target, shard_size=shard, threads=threads, processes=processes, **limits)
        command = [sys.executable, "-m", "visunex.pipeline.cli", "download", "--run", str(path), "--json"]
        began, peak = time.perf_counter(), 0.0
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, memory_mib(process.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - began
    report = json.loads(process.communicate()[0])
    attempted = urls[: report["attempted"]]
    chosen = [int(key) for key, taken in zip(*_columns(run), strict=True) if taken]
    return Outcome(seconds, time_bound(attempted, deadline, shard, threads, processes), peak, report, chosen)


def _columns(run: RunDir) -> tuple[list[str], list[bool]]:
    table = pq.read_table(run.downloaded, columns=["key", "chosen"])
    return table["key"].to_pylist(), table["chosen"].to_pylist()


def on_the_hostile_web(folder: Path, count: int, target: int, runs: int) -> str:
    """A table: time against its bound, memory, and whether the same pictures are chosen each time."""
    outcomes = [from_hostile(folder / f"hostile{seed}", seed, count, target) for seed in range(runs)]
    lines = [
        f"| {outcome.seconds:.1f} s | {outcome.bound:.1f} s | {outcome.peak_mib:.0f} MiB | "
        f"{outcome.report['chosen']} | {outcome.report['attempted']} | {len(outcome.report['classes'])} |"
        for outcome in outcomes
    ]
    same = all(outcome.chosen == outcomes[0].chosen for outcome in outcomes)
    good = all(outcome.report["chosen"] == target for outcome in outcomes)
    return (
        f"{count} URLs, half of them hostile ({len(hostile.BEHAVIOURS)} behaviours), {target} pictures "
        f"wanted, deadline 4 s, 4 processes of 32 threads, answers in another order each time.\n\n"
        "| seconds | bound | peak memory | chosen | tried | classes |\n|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\nTarget reached exactly: {'yes' if good else 'NO'}. Same pictures chosen in all runs: "
        f"{'yes' if same else 'NO'}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--urls", type=int, default=2000)
    parser.add_argument("--target", type=int, default=800)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("## Download\n")
        if arguments.pairs:
            print(against_img2dataset(Path(folder), arguments.pictures, arguments.pairs), flush=True)
        if arguments.runs:
            print("\n" + on_the_hostile_web(Path(folder), arguments.urls, arguments.target, arguments.runs))


if __name__ == "__main__":
    main()
