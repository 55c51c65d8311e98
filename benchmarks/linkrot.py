"""The web at its worst: a server half of whose links misbehave, in every way that the tests know.

python -m benchmarks.linkrot
python -m benchmarks.linkrot --runs 1 --urls 500 --target 200

The time is held against a bound. With m = processes x threads fetching at a time, and a next link begun
whenever one of them is free, the last link begins after at most (seconds of all links) / m and takes at most
the deadline itself (Graham's bound for list scheduling). Each round of candidates ends with such a last link,
as what it brought decides how many more are tried. So

    bound = start-up + (seconds of all links tried) / m + rounds x deadline

where a link that never ends takes the deadline, one that fails for the moment takes three answers and the
pauses between them, and any other takes one answer at the server's slowest. Start-up is measured: the same
command for ten good links a process. What the two sides need of the processors is not in the bound.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks._plots import plot
from benchmarks._runs import make_run
from visunex.pipeline.rundir import RunDir

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import hostile

PROCESSES, THREADS, SHARD, DEADLINE = 4, 32, 100, 4.0
SLOWEST = 0.3  # seconds by which the server puts off an answer, at random
RETRIED = 3 * SLOWEST + 1.5 * (0.2 + 0.4)  # three answers and two pauses, at their longest
PASSING = {"reset", "truncated", "http_500", "http_503"}
IN_THE_END_FINE = {"busy-twice", "busy-says-when", "reset-once", "slow-but-fine"}
ALLOWED, MEMORY = 1.2, 1536  # times the bound; MiB of all processes


@dataclass(frozen=True)
class Outcome:
    """One download from the hostile server."""

    seconds: float
    peak_mib: float
    report: dict[str, Any]
    chosen: list[int]


def hostile_urls(base: str, count: int) -> list[str]:
    """Every second link is good, the others are of any kind; in an order that is always the same."""
    rng = random.Random(1)
    names = sorted(hostile.BEHAVIOURS)
    mixed = [rng.choice(names) if number % 2 else "good" for number in range(count)]
    rng.shuffle(mixed)
    return [f"{base}/{name}/{number}.jpg" for number, name in enumerate(mixed)]


def longest(url: str) -> float:
    """Seconds that a link may take."""
    name = url.split("/")[3]
    expected = hostile.EXPECTED[name]
    if expected == "timeout":
        return DEADLINE
    return RETRIED if expected in PASSING or name in IN_THE_END_FINE else SLOWEST


def time_bound(urls: Sequence[str], rounds: int, startup: float) -> float:
    """What deadlines and concurrency imply, in seconds; see above."""
    return startup + sum(map(longest, urls)) / (PROCESSES * THREADS) + rounds * DEADLINE


def memory_mib(root: int) -> float:
    """Memory of a process and its descendants, shared pages counted once (PSS)."""
    total, queue = 0, [root]
    while queue:
        pid = queue.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += map(int, (task / "children").read_text(encoding="utf-8").split())
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def download(path: Path, urls: Sequence[str], target: int, shard: int = SHARD) -> Outcome:
    """The command in a process of its own, its memory looked at five times a second."""
    how = {"processes": PROCESSES, "threads": THREADS, "shard_size": shard, "deadline": DEADLINE}
    run = make_run(path, urls, target, max_pixels=10**7, host_connections=1000, **how)
    command = [sys.executable, "-m", "visunex.pipeline", "download", "--run", str(path), "--json"]
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, memory_mib(process.pid))
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    return Outcome(seconds, peak, json.loads(process.communicate()[0]), chosen(run))


def chosen(run: RunDir) -> list[int]:
    table = pq.read_table(run.downloaded, columns=["key", "chosen"]).to_pylist()
    return [int(row["key"]) for row in table if row["chosen"]]


def startup(folder: Path) -> float:
    """Seconds of a download of ten good links for each process."""
    with hostile.hostile() as server:
        urls = [f"{server.base}/good/{number}.jpg" for number in range(10 * PROCESSES)]
        return download(folder / "startup", urls, len(urls), shard=10).seconds


def section(folder: Path, count: int, target: int, runs: int) -> str:
    """A table: time against its bound, memory, and whether the same pictures are chosen each time."""
    begin, outcomes, bounds = startup(folder), [], []
    for seed in range(runs):
        with hostile.hostile(shuffle=SLOWEST, seed=seed) as server:
            urls = hostile_urls(server.base, count)
            outcomes.append(download(folder / f"run{seed}", urls, target))
        report = outcomes[-1].report
        bounds.append(time_bound(urls[: report["attempted"]], report["rounds"], begin))
    return "\n\n".join(
        [_settings(count, target), _table(outcomes, bounds, begin, target), *_plots(outcomes, bounds)]
    )


def _settings(count: int, target: int) -> str:
    return (
        f"{count} links, half of them of any of {len(hostile.BEHAVIOURS)} kinds, {target} pictures wanted, "
        f"deadline {DEADLINE:g} s, {PROCESSES} processes of {THREADS} threads, answers put off by up to "
        f"{SLOWEST:g} s at random. The bound is what deadlines and concurrency imply "
        "(`benchmarks/linkrot.py` says how)."
    )


def _table(outcomes: Sequence[Outcome], bounds: Sequence[float], begin: float, target: int) -> str:
    lines = [
        "| seconds | bound | of the bound | peak memory | chosen | tried | rounds | classes |",
        "|---" * 8 + "|",
    ]
    for each, bound in zip(outcomes, bounds, strict=True):
        report = each.report
        lines.append(
            f"| {each.seconds:.1f} s | {bound:.1f} s | {each.seconds / bound:.2f} "
            f"| {each.peak_mib:.0f} MiB | {report['chosen']} | {report['attempted']} | {report['rounds']} "
            f"| {len(report['classes'])} |"
        )
    same = all(each.chosen == outcomes[0].chosen for each in outcomes)
    exact = all(each.report["chosen"] == len(each.chosen) == target for each in outcomes)
    said = {True: "yes", False: "NO"}
    lines += [
        f"\nOf the bound, {begin:.1f} s are start-up. Target reached exactly: {said[exact]}. "
        f"The same pictures chosen each time: {said[same]}."
    ]
    return "\n".join(lines)


def _plots(outcomes: Sequence[Outcome], bounds: Sequence[float]) -> list[str]:
    shares = {
        f"run {number}": f"{each.seconds / bound:.2f}"
        for number, (each, bound) in enumerate(zip(outcomes, bounds, strict=True), 1)
    }
    memory = {f"run {number}": f"{each.peak_mib:.0f} MiB" for number, each in enumerate(outcomes, 1)}
    return [
        plot("Time, in times the bound that deadlines and concurrency imply", shares, f"<= {ALLOWED}"),
        plot("Peak memory of all processes", memory, f"<= {MEMORY} MiB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urls", type=int, default=2000)
    parser.add_argument("--target", type=int, default=800)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("## Download: from a hostile server\n")
        print(section(Path(folder), asked.urls, asked.target, asked.runs))


if __name__ == "__main__":
    main()
