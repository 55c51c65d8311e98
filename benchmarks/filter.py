"""Filter: against pandas, HF datasets, pyarrow, DuckDB and polars written by hand, on a synthetic LAION set.

python -m benchmarks.filter                                    # 4 M rows, 5 rounds, memory also on 16 M rows
python -m benchmarks.filter --rows 1000000 --larger 0 --rounds 3 --without datasets,pandas
"""

import argparse
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._plots import plot

KEYWORDS = ("plant", "flower", "floral", "vegetation", "garden")
PATTERN = "|".join(map(re.escape, KEYWORDS))
CANDIDATES = 8000  # top 2000 and their reserve
PART = 250_000
SYLLABLES = "ba,co,du,fe,gi,ho,ja,ka,lu,mi,no,pa,qui,ro,sa,te,un,vi,wo,xe,ya,zu,für,été,花"


# --- the data ----------------------------------------------------------------------------------------------


def write_metadata(path: Path, rows: int, first: int = 0) -> None:
    """Rows in the schema of improved_aesthetics_6.5plus; about 6 % of the captions hold a keyword.

    They are drawn with the seed `first` and those after it, one for each PART.
    """
    import pyarrow.parquet as pq

    writer = None
    for seed, start in enumerate(range(0, rows, PART), first):
        table = part(min(PART, rows - start), seed).to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def part(rows: int, seed: int):  # type: ignore[no-untyped-def]
    """Captions of two random phrases, URLs with a random number, scores that thin out upwards."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    starts, ends = phrases(rng), phrases(rng)
    draw = lambda pool: pl.Series(pool[rng.integers(0, len(pool), rows)])  # noqa: E731
    hosts = np.array([f"https://cdn{n}.example.com/photos/uploads/" for n in range(5000)])
    numbers = pl.Series(rng.integers(10**14, 10**15, rows)).cast(pl.String)
    return pl.DataFrame(
        {
            "URL": draw(hosts) + numbers + "-large.jpg",
            "TEXT": draw(starts) + " " + draw(ends),
            "WIDTH": rng.integers(200, 4000, rows).astype(np.float64),
            "HEIGHT": rng.integers(200, 4000, rows).astype(np.float64),
            "similarity": rng.normal(0.3, 0.03, rows),
            "punsafe": rng.beta(1, 10, rows).astype(np.float32),
            "pwatermark": rng.beta(1, 3, rows).astype(np.float32),
            "AESTHETIC_SCORE": (6.5 + rng.exponential(0.15, rows)).astype(np.float32),
            "hash": rng.integers(-(2**62), 2**62, rows),
        }
    )


def phrases(rng, count: int = 20_000):  # type: ignore[no-untyped-def]
    """Phrases of two to seven words from a vocabulary with Zipf's frequencies."""
    import numpy as np

    syllables = np.array(SYLLABLES.split(","))
    words = np.array(["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(5000)])
    share = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(words, (count, 7), p=share / share.sum())
    lengths = rng.integers(2, 8, count)
    made = [" ".join(row[:length]) for row, length in zip(drawn, lengths, strict=True)]
    for at in range(0, count, 33):
        made[at] = f"{made[at]} {KEYWORDS[at % len(KEYWORDS)].title()}s"
    return np.array(made)


# --- the tools ---------------------------------------------------------------------------------------------


def visunex(path: "str | Path") -> int:
    """`filter_rows`: counts of what each condition dropped, duplicates, and the files of a run included."""
    from visunex.pipeline.filter.stage import filter_rows
    from visunex.pipeline.rundir import RunDir
    from visunex.recipes import Filter, Recipe, Source

    recipe = Recipe(name="bench", source=Source(data=str(path)), filter=Filter(keywords=KEYWORDS))
    with tempfile.TemporaryDirectory() as folder:
        return filter_rows(RunDir(Path(folder)), recipe).selected


def polars(path: Path) -> int:
    """Lazy and streaming, as its documentation advises."""
    import polars as pl

    rows = pl.scan_parquet(path).filter(pl.col("TEXT").str.contains(f"(?i){PATTERN}"))
    return rows.top_k(CANDIDATES, by="AESTHETIC_SCORE").collect(engine="streaming").height


def pyarrow(path: Path) -> int:
    """A data set scanned with a filter, then the best rows taken."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    match = pc.match_substring_regex(ds.field("TEXT"), PATTERN, ignore_case=True)
    table = ds.dataset(path).to_table(filter=match)
    best = pc.select_k_unstable(table, k=CANDIDATES, sort_keys=[("AESTHETIC_SCORE", "descending")])
    return table.take(best).num_rows


def duckdb(path: Path) -> int:
    """One SQL query."""
    import duckdb as db

    query = (
        f"SELECT * FROM '{path}' WHERE regexp_matches(TEXT, '{PATTERN}', 'i') ORDER BY AESTHETIC_SCORE DESC"
    )
    return len(db.sql(f"{query} LIMIT {CANDIDATES}").fetchall())


def pandas(path: Path) -> int:
    """Everything read, `str.contains`, `nlargest`."""
    import pandas as pd

    rows = pd.read_parquet(path)
    found = rows[rows["TEXT"].str.contains(PATTERN, case=False, regex=True, na=False)]
    return len(found.nlargest(CANDIDATES, "AESTHETIC_SCORE"))


def datasets(path: Path) -> int:
    """`load_dataset`, `filter`, `sort`, `select`, which are but numbers of rows, and then the rows."""
    from datasets import load_dataset

    pattern = re.compile(PATTERN, re.IGNORECASE)
    with tempfile.TemporaryDirectory() as cache:
        rows = load_dataset("parquet", data_files=str(path), split="train", cache_dir=cache)
        found = rows.filter(lambda row: bool(pattern.search(row["TEXT"])))
        best = found.sort("AESTHETIC_SCORE", reverse=True).select(range(min(CANDIDATES, len(found))))
        return len(best.to_pandas())


TOOLS: dict[str, Callable[[Any], int]] = {
    "visunex": visunex,
    "polars": polars,
    "pyarrow": pyarrow,
    "duckdb": duckdb,
    "pandas": pandas,
    "datasets": datasets,
}
IMPORTS = {"visunex": "visunex.pipeline.filter.stage"}
TARGETS = {"pandas": 20, "datasets": 50}  # times faster than these


# --- measuring ---------------------------------------------------------------------------------------------


def work(tool: str, path: "str | Path") -> None:
    """In a process of its own: run a tool and print its seconds, without imports, and its peak memory."""
    importlib.import_module(IMPORTS.get(tool, tool))
    start, cpu = time.perf_counter(), time.process_time()
    rows = TOOLS[tool](path)
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) / 1024  # type: ignore[index]
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": used, "peak_mb": peak}))


def measured(tool: str, path: "str | Path") -> dict[str, float]:
    program = [sys.executable, "-m", "benchmarks.filter", "--worker", tool, str(path)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {tool}: {result}", file=sys.stderr, flush=True)
    return result


def compare(tools: Sequence[str], path: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Rounds in which each tool runs once, so that what else the machine does falls on all alike.

    Every other round goes backwards, and what a tool has left to be written is written first: else one that
    leaves gigabytes slows down the one after it.
    """
    results: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
    for turn in range(rounds):
        for tool in tools if turn % 2 == 0 else reversed(tools):
            os.sync()
            results[tool].append(measured(tool, path))
    return results


def median(results: Sequence[dict[str, float]], key: str) -> float:
    return statistics.median(result[key] for result in results)


def table(results: dict[str, list[dict[str, float]]]) -> str:
    lines = [
        "| tool | seconds | against polars | CPU seconds | peak memory |",
        "|---|---|---|---|---|",
    ]
    hand = median(results["polars"], "seconds")
    for tool, runs in results.items():
        seconds, cpu, peak = (median(runs, key) for key in ("seconds", "cpu", "peak_mb"))
        name = {"visunex": "**visunex filter**", "polars": "polars by hand"}.get(tool, tool)
        lines.append(f"| {name} | {seconds:.2f} | {seconds / hand:.2f}x | {cpu:.2f} | {peak:.0f} MB |")
    return "\n".join(lines)


def targets(results: dict[str, list[dict[str, float]]]) -> str:
    """What was aimed at, and what it is: of the tools that were measured."""
    own = median(results["visunex"], "seconds")
    times = {tool: median(runs, "seconds") / own for tool, runs in results.items()}
    said = [
        f"Time of visunex filter against polars by hand: {1 / times['polars']:.2f}x (target: at most 1.25x)."
    ]
    for tool, least in TARGETS.items():
        if tool in times:
            said.append(f"Times faster than {tool}: {times[tool]:.1f} (target: at least {least}).")
    for tool, factor in times.items():
        if tool not in ("visunex", "polars", *TARGETS):
            said.append(f"Times faster than {tool}: {factor:.1f}.")
    return "\n".join(said)


def growth(small: Sequence[dict[str, float]], path: Path, rows: int, larger: int, rounds: int) -> str:
    """Peak memory on a larger file of the same kind."""
    big = [measured("visunex", path) for _ in range(rounds)]
    low, high = median(small, "peak_mb"), median(big, "peak_mb")
    return (
        f"Peak memory of visunex filter: {low:.0f} MB on {rows:,} rows, {high:.0f} MB on {larger:,} rows "
        f"({high / low:.2f}x); {median(big, 'seconds'):.2f} s on the latter."
    )


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--larger", type=int, default=16_000_000, help="rows of a second file; 0 for none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", default="", help="tools to leave out, comma-separated")
    parser.add_argument("--worker", nargs=2, metavar=("TOOL", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        tool, place = options.worker
        work(tool, place if "://" in place else Path(place))
        return
    left_out = {*options.without.split(","), *(tool for tool in TOOLS if not _installed(tool))}
    tools = [tool for tool in TOOLS if tool not in left_out]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metadata.parquet"
        write_metadata(path, options.rows)
        results = compare(tools, path, options.rounds)
        print(
            f"## Filter\n\n{options.rows:,} rows in LAION's schema, one parquet file ({_size(path)}); five "
            f"keywords, the best {CANDIDATES} kept. Medians of {options.rounds} rounds, in which each tool "
            "has a process of its own; imports are not counted.\n"
        )
        print(table(results))
        print(f"\n{targets(results)}")
        hand = median(results["polars"], "seconds")
        bars = {tool: f"{median(runs, 'seconds') / hand:.2f}x" for tool, runs in results.items()}
        print(plot("Time against polars written by hand", bars, "<= 1.25"))
        if options.larger:
            write_metadata(path, options.larger)
            print("\n" + growth(results["visunex"], path, options.rows, options.larger, options.rounds))


def _installed(tool: str) -> bool:
    return importlib.util.find_spec(tool) is not None


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


if __name__ == "__main__":
    main(sys.argv[1:])
