"""Start-up: how long a person waits for `--help` and for jobs of a few rows; whole processes.

python -m benchmarks.startup
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

DATA = [sys.executable, "-m", "visunex.pipeline"]
GENERATE = [sys.executable, "-m", "visunex.generate.cli"]
ROWS = 10
LIMIT = 0.4  # seconds for `visunex-data --help`


def prepare(folder: Path) -> None:
    """Ten rows of metadata and ten pictures."""
    rows = {
        "URL": [f"http://127.0.0.1/{row}.jpg" for row in range(ROWS)],
        "TEXT": [f"a flower, number {row}" for row in range(ROWS)],
        "AESTHETIC_SCORE": [7.0 + row / ROWS for row in range(ROWS)],
    }
    pq.write_table(pa.table(rows), folder / "metadata.parquet")
    (folder / "pictures").mkdir()
    for row in range(ROWS):
        Image.new("RGB", (320, 240), (25 * row, 120, 200 - 20 * row)).save(folder / "pictures" / f"{row}.jpg")


def jobs(folder: Path) -> dict[str, list[str]]:
    """What is timed, by what it is called."""
    filtering = [
        "filter",
        str(folder / "metadata.parquet"),
        "--keywords",
        "flower",
        "--run",
        str(folder / "run"),
    ]
    encoding = ["encode", "--images", str(folder / "pictures"), "--out", str(folder / "embedding.pt")]
    return {
        "Python alone": [sys.executable, "-c", "pass"],
        "`visunex-data --help`": [*DATA, "--help"],
        "`visunex-data run --help`": [*DATA, "run", "--help"],
        "`visunex-generate --help`": [*GENERATE, "--help"],
        f"`visunex-data filter`, {ROWS} rows": [*DATA, *filtering],
        f"`visunex-data encode`, {ROWS} pictures, visunex-tiny": [
            *DATA,
            *encoding,
            "--model",
            "visunex-tiny",
        ],
    }


def seconds(command: Sequence[str]) -> float:
    """From start to end of a process that succeeds."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr}")
    return time.perf_counter() - began


def main() -> None:
    """Print the section. The jobs take turns and meet the same machine; the first turn is for warmth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        wanted = jobs(Path(place))
        turns = [
            {name: seconds(command) for name, command in wanted.items()} for _ in range(asked.rounds + 1)
        ]
    print(f"## Start-up: whole processes, medians of {asked.rounds}\n")
    print("| what | median | slowest |\n|---|---|---|")
    for name in wanted:
        taken = [turn[name] for turn in turns[1:]]
        print(f"| {name} | {statistics.median(taken):.2f} s | {max(taken):.2f} s |")
    print(f"\n`visunex-data --help` is to stay under {LIMIT} s.")


if __name__ == "__main__":
    main()
