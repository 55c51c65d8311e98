"""Run the benchmarks and write what they print to `docs/benchmarks.md`, with a drawing of each.

    python -m benchmarks              # all of them
    python -m benchmarks steer filter # these; the others' sections are kept

Each benchmark is a module of this folder (`_name.py` is a helper) that prints one Markdown section and may
ask for plots of it (`_plots.py`). Speeds are compared in one run, so the ratios hold; the seconds are those
of one machine on one day. A benchmark that fails leaves its section as it was.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks._plots import plots, svg, without_lines

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
DRAWINGS = PAGE.with_suffix("")
PACKAGES = (
    "numpy",
    "torch",
    "transformers",
    "diffusers",
    "open_clip_torch",
    "img2dataset",
    "polars",
    "pyarrow",
    "pandas",
    "datasets",
    "duckdb",
)
NEW_PAGE = "# Benchmarks\n\nWritten by `make bench`; do not edit. Ratios were measured in one run each.\n"


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def machine() -> str:
    """The machine and versions that the figures belong to, as one line."""
    model = re.search(r"model name\s*:\s*(.*)", _read(Path("/proc/cpuinfo")))
    processor = model[1] if model else platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{processor}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {_gpu()}; "
        f"Python {platform.python_version()}, {', '.join(_versions())}."
    )


def _versions() -> list[str]:
    installed = {
        each.metadata["Name"].lower().replace("-", "_") for each in importlib.metadata.distributions()
    }
    return [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if name in installed]


def _gpu() -> str:
    if shutil.which("nvidia-smi") is None:
        return "no GPU"
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return ", ".join(answer.stdout.split("\n")).strip(", ") if answer.returncode == 0 else "no GPU"


def measure(name: str) -> str | None:
    """What the benchmark prints: a Markdown section that begins with a `## ` heading. None if it fails."""
    print(f"benchmark: {name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    printed = done.stdout.strip()
    return printed if done.returncode == 0 and printed.startswith("## ") else None


def draw(name: str, printed: str) -> str:
    """Write the section's drawings; the Markdown that shows them."""
    shown = []
    for place, wanted in enumerate(plots(printed), 1):
        file = DRAWINGS / (f"{name}.svg" if place == 1 else f"{name}-{place}.svg")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(svg(wanted), encoding="utf-8")
        shown.append(f"![{wanted.title}]({DRAWINGS.name}/{file.name})\n\n")
    return "".join(shown)


def place(name: str, printed: str) -> None:
    """Put the section in the place of the one that the page has, or at the page's end."""
    text = f"{without_lines(printed)}\n\n{draw(name, printed)}*{machine()}*"
    section = f"<!-- {name} -->\n{text}\n<!-- /{name} -->\n"
    page = _read(PAGE) or NEW_PAGE
    old = re.compile(rf"<!-- {name} -->.*<!-- /{name} -->\n", re.DOTALL)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(
        old.sub(lambda _: section, page) if old.search(page) else f"{page}\n{section}", encoding="utf-8"
    )


def main(wanted: list[str]) -> None:
    """Replace the sections of `wanted` (all when empty) in the page."""
    unknown = set(wanted) - set(names())
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    failed = []
    for name in wanted or names():
        printed = measure(name)
        if printed is None:
            failed.append(name)
        else:
            place(name, printed)
    if failed:
        sys.exit(f"failed, sections left as they were: {', '.join(failed)}")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    main(sys.argv[1:])
