"""The table of a campaign: `python -m fuzz --count 2000 --keep FOLDER`, for each loader its share of that."""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import kinds  # noqa: F401 - registers all loaders
from .campaign import FAULTS, Counts, fuzz
from .loader import LOADERS

_COLUMNS = ("inputs", "accepted", "named", *FAULTS)


def _row(name: str, counts: list[Counts]) -> str:
    cells = [sum(each.inputs for each in counts)]
    cells += [sum(each.outcomes[column] for each in counts) for column in _COLUMNS[1:]]
    return f"{name:<22}" + "".join(f"{cell:>10}" for cell in cells)


def main() -> None:
    """Fuzz and print; exit status 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="inputs of each loader")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--only", action="append", help="these loaders")
    parser.add_argument("--keep", type=Path, help="a folder for inputs that fail")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    names = [name for name in LOADERS if not given.only or name in given.only]
    print(f"{'loader':<22}" + "".join(f"{column:>10}" for column in _COLUMNS), flush=True)

    def one(name: str) -> Counts:
        began = time.monotonic()
        counts = fuzz([name], given.count, seed=given.seed, first=given.first, keep=given.keep)[name]
        print(f"{_row(name, [counts])}  {time.monotonic() - began:6.0f} s", flush=True)
        return counts

    with ThreadPoolExecutor(given.jobs) as pool:
        found = list(pool.map(one, names))
    print(_row("all", found))
    for counts in found:
        for number, kind, said in counts.faults[:5]:
            print(f"\n{counts.loader} {number}: {kind}: {said[-800:]}")
    sys.exit(any(counts.faults for counts in found))


if __name__ == "__main__":
    main()
