"""What a person looks at: the page of a run of 2000 pictures, a sheet of them, and its embedding curated.

    python -m benchmarks.report             # 2 rounds
    python -m benchmarks.report --rounds 1

The run is a real one: drawn pictures from a server on the loopback, downloaded and encoded with visunex-tiny,
whose vectors are as long as ViT-L/14's. Whole processes are timed; nothing of the page is there before.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.run import SIDE, Handler, command, picture
from visunex.base.files import write_text
from visunex.recipes import Recipe, dumps

COUNT, CANDIDATES = 2000, 3600  # two links of five are dead
DRAWN = 300  # pictures; each address has one of them with bytes of its own
LARGEST, SLOWEST, MOST = 5.0, 20.0, 500.0  # MB of the page, seconds and MB of memory to make it
CURATED, CURATED_WHOLE = 1.0, 3.0  # seconds beyond imports, and of the whole process
SUBJECTS = ("castle", "garden", "harbour", "mountain", "old tree")
TWICE = """
import sys, time
from pathlib import Path
from visunex.pipeline.curate.curation import Dropping, curate
for name in ("first.pt", "second.pt"):
    began = time.perf_counter()
    curate(sys.argv[1], Dropping(atypical=0.1), Path(sys.argv[2]) / name, overwrite=True)
    taken = time.perf_counter() - began
print(taken)
"""


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds, those of its processor, and the most MB of memory at a time."""

    seconds: float
    cpu: float
    megabytes: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.cpu:.1f} s of processors"


def cost(*arguments: str | Path) -> Cost:
    """What `visunex-data` takes, from start to end."""
    began = time.perf_counter()
    whole = [sys.executable, "-m", "visunex.pipeline", *map(str, arguments)]
    process = subprocess.Popen(whole, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, arguments))} failed")
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)


def make_run(folder: Path) -> Path:
    """A run of COUNT pictures, from a server that answers at once."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    rows = {
        "URL": [f"{base}/{row}.jpg" for row in range(CANDIDATES)],
        "TEXT": [f"a {SUBJECTS[row % len(SUBJECTS)]}, number {row}" for row in range(CANDIDATES)],
        "AESTHETIC_SCORE": [8 - row / CANDIDATES for row in range(CANDIDATES)],
    }
    pq.write_table(pa.table(rows), folder / "metadata.parquet")
    settings = {
        "name": "benchmark",
        "source": str(folder / "metadata.parquet"),
        "filter": {"top": COUNT},
        "download": {"allow_private": True, "processes": 2, "threads": 16, "host_connections": 32},
        "encode": {"model": "visunex-tiny"},
    }
    write_text(folder / "recipe.toml", dumps(Recipe.model_validate(settings)))
    command("run", folder / "recipe.toml", "--run", folder / "run")
    server.shutdown()
    return folder / "run"


def page(run: Path) -> Cost:
    """What the page costs, thumbnails included."""
    for made in ("contact", "thumbnails"):
        shutil.rmtree(run / made, ignore_errors=True)
    (run / "report.html").unlink(missing_ok=True)
    return cost("show", run, "--no-open")


def curated_beyond_imports(run: Path, out: Path) -> float:
    """Seconds of the second of two calls in one process."""
    done = subprocess.run(
        [sys.executable, "-c", TWICE, str(run), str(out)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def main() -> None:
    """Print the section: the slowest of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = range(parser.parse_args().rounds)
    os.environ["HF_HUB_OFFLINE"] = "1"

    def slowest_of(*arguments: str | Path) -> Cost:
        return max((cost(*arguments) for _ in rounds), key=lambda each: each.seconds)

    Handler.pictures = tuple(map(picture, range(DRAWN)))
    Handler.latency = 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = make_run(folder)
        Handler.pictures = ()  # a process counts the memory of the one that begins it
        made = [page(run) for _ in rounds]
        size = (run / "report.html").stat().st_size / 1e6
        beside = sum(each.stat().st_size for each in (run / "contact").iterdir()) / 1e6
        sheet = slowest_of("show", run, "--sheet", folder / "best.webp", "--top", "100")
        again = slowest_of("show", run, "--no-open")
        whole = slowest_of("curate", run, "--drop-atypical", "0.1", "--out", folder / "mine.pt")
        beyond = max(curated_beyond_imports(run, folder) for _ in rounds)
    print(f"## The page of {COUNT} pictures, and their embedding curated\n")
    print(
        f"Drawn pictures of {SIDE}x{SIDE}, vectors of 768; the slowest of {len(rounds)} whole "
        "processes, by the clock, which counts what else a machine does at the time, and of processors.\n"
    )
    print("| what | measured | at most |\n|---|---|---|")
    print(f"| `report.html` | {size:.1f} MB | {LARGEST:g} MB |")
    print(f"| all pictures on sheets beside it | {beside:.1f} MB | |")
    slowest, most = max(made, key=lambda each: each.seconds), max(each.megabytes for each in made)
    print(f"| to make both, thumbnails included | {slowest} | {SLOWEST:g} s |")
    print(f"| peak memory meanwhile | {most:.0f} MB | {MOST:g} MB |")
    print(f"| to make both again, thumbnails being there | {again} | |")
    print(f"| `show --sheet` of the best 100 | {sheet} | |")
    print(f"| `curate --drop-atypical 0.1` | {whole} | {CURATED_WHOLE:g} s |")
    print(f"| the same without start-up and imports | {beyond:.3f} s | {CURATED:g} s |")


if __name__ == "__main__":
    main()
