"""A server that allows so many requests a second: every link is to be had, with few requests more than links.

python -m benchmarks.throttled
python -m benchmarks.throttled --links 300 --rate 200
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._runs import make_run

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import throttled

ALLOWED = 1.3  # requests for each link
ANSWERS: dict[str, dict[str, Any]] = {
    "429": {},
    "429, Retry-After: 1": {"retry_after": 1},
    "429, Retry-After: a date": {"retry_after": 1, "as_date": True},
    "503": {"status": 503},
}


def download(path: Path, base: str, links: int) -> dict[str, Any]:
    """The report of the command in a process of its own, which asks for all the links."""
    run = make_run(path, [f"{base}/{number}.jpg" for number in range(links)], links, processes=4)
    command = [sys.executable, "-m", "visunex.pipeline", "download", "--run", str(run.path), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def line(path: Path, answer: str, links: int, rate: float) -> str:
    """A line of the table: one download from a server that says it is too much by that `answer`."""
    with throttled.throttled(rate, **ANSWERS[answer]) as server:
        began = time.perf_counter()
        report = download(path, server.base, links)
        seconds, asked = time.perf_counter() - began, sum(server.visits.values())
    return (
        f"| {answer} | {report['chosen']} of {links} | {asked} | {asked / links:.2f} "
        f"| {seconds:.1f} s | {links / rate:.1f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=1200)
    parser.add_argument("--rate", type=float, default=40.0)
    asked = parser.parse_args()
    print("## Download: from a server that asks to slow down\n")
    print(f"{asked.links} links, {asked.rate:g} requests/s allowed; at most {ALLOWED} requests a link.\n")
    print("| answer | pictures | requests | a link | seconds | at the allowed rate |")
    print("|---" * 6 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for number, answer in enumerate(ANSWERS):
            print(line(Path(folder) / str(number), answer, asked.links, asked.rate), flush=True)


if __name__ == "__main__":
    main()
