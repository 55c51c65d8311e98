"""Published vectors scored by LAION's predictor V2: by the commands, and by a few lines written by hand.

python -m benchmarks.score                             # 2 M x 768 float16: 3 GB, then removed
python -m benchmarks.score --rows 200000 --keep DIR    # fewer; kept in DIR, and used again from there

The predictor comes from the cache, else from $VISUNEX_MIRROR or its publisher.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.precomputed import DIMENSION, forget, write_data

TARGET = 1.3
COMMAND = "import sys; from visunex.pipeline.cli import main; main(sys.argv[1:])"
BY_HAND = """
import sys
from pathlib import Path
import numpy as np
folder, kernel, bias, out = sys.argv[1:]
weight, found = np.load(kernel), []
for path in sorted(Path(folder, "img_emb").glob("*.npy"), key=lambda each: int(each.stem.split("_")[-1])):
    vectors = np.load(path, mmap_mode="r")
    for begin in range(0, len(vectors), 4096):
        found.append(vectors[begin : begin + 4096].astype(np.float32) @ weight + np.float32(bias))
np.save(out, np.concatenate(found))
"""


@dataclass(frozen=True)
class Measured:
    """One way to score, as a process from start to end: seconds of each time, and the highest peak."""

    cold: tuple[float, ...]
    warm: tuple[float, ...]
    peak_mb: float


def process(command: Sequence[str]) -> tuple[float, float]:
    """The seconds that a process takes, and its peak memory in MB, without the pages of files it maps."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        done = subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.DEVNULL, stderr=said)
        peak = 0
        while done.poll() is None:
            peak = max(peak, anonymous_kb(done.pid))
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        if done.returncode:
            said.seek(0)
            sys.exit(said.read().decode())
    return seconds, peak / 1024


def anonymous_kb(pid: int) -> int:
    """The memory that a process has for itself now; 0 when it is gone."""
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    except OSError:
        return 0
    return int(found[1]) if found else 0


def measure(ways: Mapping[str, Sequence[str]], data: Path, times: int) -> dict[str, Measured]:
    """Each way once with nothing of the data in the page cache, then all in turn, `times` over."""
    cold: dict[str, tuple[float, float]] = {}
    for name, command in ways.items():
        for path in data.rglob("*_*.*"):
            with path.open("rb") as file:
                forget(file.fileno())
        cold[name] = process(command)
    rounds = [{name: process(command) for name, command in ways.items()} for _ in range(times)]
    return {
        name: Measured(
            (cold[name][0],),
            tuple(each[name][0] for each in rounds),
            max(each[name][1] for each in [cold, *rounds]),
        )
        for name in ways
    }


def ways(data: Path, folder: Path) -> dict[str, list[str]]:
    """The programs to compare, by their names."""
    from visunex.pipeline.score import load, predictors

    (layer,) = load(predictors()["V2"]).layers
    np.save(folder / "kernel.npy", layer.kernel[:, 0].astype(np.float32))
    hand = [
        BY_HAND,
        str(data),
        str(folder / "kernel.npy"),
        str(float(layer.bias[0])),
        str(folder / "hand.npy"),
    ]
    scores, run = folder / "scores.parquet", folder / "run"
    metadata = str(data / "metadata" / "*.parquet")
    filtered = ["filter", metadata, "--precomputed", str(data), "--score-with", "V2", "--run", str(run)]
    return {
        "by hand": hand,
        "`score VECTORS --with V2`": [COMMAND, "score", str(data), "--out", str(scores), "--overwrite"],
        "`filter --score-with V2`": [COMMAND, *filtered, "--top", "2000", "--overwrite"],
    }


def require_equal(folder: Path) -> None:
    """End the benchmark where the command's scores are not those made by hand."""
    import pyarrow.parquet as pq

    ours, hand = pq.read_table(folder / "scores.parquet")["V2"].to_numpy(), np.load(folder / "hand.npy")
    if ours.shape != hand.shape or (worst := np.abs(ours - hand).max()) > 2e-2:
        sys.exit(f"the scores differ: {ours.shape} and {hand.shape} of them, by up to {worst:.2g}")


def report(data: Path, rows: int, times: int) -> None:
    """Print the section."""
    with tempfile.TemporaryDirectory() as name:
        found = measure(ways(data, Path(name)), data, times)
        require_equal(Path(name))
    size = sum(path.stat().st_size for path in (data / "img_emb").iterdir())
    print(
        f"## Scores of {rows:,} published vectors\n\nWhole processes from their start; {DIMENSION} x "
        "float16, "
        f"{size / 1e9:.1f} GB. By hand: blocks of 4096 rows cast to float32, and one BLAS product with V2 as "
        "one affine map; nothing is checked, and no row is named. `score` also looks whether each vector is "
        "one, and how long, and writes scores beside links and captions; `filter` also reads the metadata, "
        "and writes the best. Cold: nothing of the data in the page cache. Warm: the median of "
        f"{times} rounds of all in turn. Memory is without the pages of files that are mapped.\n"
    )
    print("| how | cold | warm | against by hand, cold | against by hand, warm | to reach | peak memory |")
    print("|---|---|---|---|---|---|---|")
    hand = found["by hand"]
    for how, each in found.items():
        cold, warm = each.cold[0] / hand.cold[0], statistics.median(each.warm) / statistics.median(hand.warm)
        print(
            f"| {how} | {each.cold[0]:.2f} s | {statistics.median(each.warm):.2f} s | {cold:.2f}x | "
            f"{warm:.2f}x | <= {TARGET}x | {each.peak_mb:.0f} MB |"
        )


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="make the data here, or use what is here")
    options = parser.parse_args(argv)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="visunex-bench-"))
    try:
        if not (folder / "links.parquet").exists():
            write_data(folder, options.rows)
        report(folder, options.rows, options.times)
    finally:
        if options.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
