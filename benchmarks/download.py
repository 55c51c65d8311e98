"""Download: whole processes of ours and of plain img2dataset, in turns, from a healthy server.

python -m benchmarks.download
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

from PIL import Image

from benchmarks._plots import plot
from benchmarks._runs import make_run
from visunex.pipeline.rundir import RunDir

FILES = 24  # distinct pictures, so that they lie in the page cache as on a healthy server
PROCESSES, THREADS, SHARD = 2, 32, 1000


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
        f"location ~ ^/(\\d+)/ {{ alias {folder}/$1.jpg; default_type image/jpeg; }} }} }}\n",
        encoding="utf-8",
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
    return timed([sys.executable, "-m", "visunex.pipeline", "download", "--run", str(run.path)])


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
    settings = {"processes": PROCESSES, "threads": THREADS, "shard_size": SHARD}
    keep = {"dedupe_images": "none", "keep_placeholders": True, "host_connections": PROCESSES * THREADS}
    run, output = make_run(folder / "run", urls, len(urls), **settings, **keep), folder / "shards"
    output.mkdir()
    cost = download(run, output)
    had = sum(
        json.loads(path.read_text(encoding="utf-8"))["successes"] for path in output.glob("*_stats.json")
    )
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
        startup = [measured(download, folder, urls[:1]).seconds for download in (ours, theirs)]
    lines = [
        f"| {mine.seconds:.1f} s | {other.seconds:.1f} s | {other.seconds / mine.seconds:.2f} | "
        f"{mine.cpu:.1f} s | {other.cpu:.1f} s |"
        for mine, other in costs
    ]
    ratio = statistics.median(other.seconds / mine.seconds for mine, other in costs)
    seconds = [statistics.median(pair[side].seconds for pair in costs) for side in (0, 1)]
    rates = [pictures / each for each in seconds]
    without = [pictures / (each - begin) for each, begin in zip(seconds, startup, strict=True)]
    return (
        f"{pictures} pictures of {size:.0f} KiB from {server} on the loopback, original bytes kept, "
        f"{PROCESSES} processes of {THREADS} threads each, whole processes timed in turns.\n\n"
        "| visunex-data download | img2dataset | throughput ratio | CPU, ours | CPU, img2dataset |\n"
        "|---|---|---|---|---|\n" + "\n".join(lines) + "\n\n"
        f"Median ratio **{ratio:.2f}** ({rates[0]:.0f} against {rates[1]:.0f} pictures/s). "
        f"A single picture takes {startup[0]:.1f} s and {startup[1]:.1f} s; without these, "
        f"{without[0]:.0f} against {without[1]:.0f} pictures/s, **{without[0] / without[1]:.2f}**.\n\n"
        + plot(
            "Throughput of whole processes, in times that of img2dataset",
            {"visunex-data download": f"{ratio:.2f}x", "img2dataset": "1.00x"},
            target=">= 1.0",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("## Download: against plain img2dataset\n")
        print(against_img2dataset(Path(folder), asked.pictures, asked.pairs))


if __name__ == "__main__":
    main()
