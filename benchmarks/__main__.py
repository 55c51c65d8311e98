"""Run the benchmarks and write what they print to `docs/benchmarks.md`.

    python -m benchmarks              # all of them
    python -m benchmarks steer filter # these; the others' sections are kept

Each benchmark is a module of this folder that prints one Markdown section. Speeds are compared in one run,
so the ratios hold; the seconds are those of one machine on one day.
"""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
PACKAGES = (
    "numpy",
    "torch",
    "transformers",
    "diffusers",
    "open_clip_torch",
    "img2dataset",
    "polars",
    "pyarrow",
)


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def machine() -> str:
    """The machine and versions that the figures belong to, as one line."""
    model = re.search(r"model name\s*:\s*(.*)", _read(Path("/proc/cpuinfo")))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    processor = model[1] if model else platform.processor()
    return (
        f"{processor}, {os.cpu_count()} cores, no GPU used; Python {platform.python_version()}, {versions}."
    )


def measure(name: str) -> str:
    """What the benchmark prints: a Markdown section that begins with a `## ` heading."""
    print(f"benchmark: {name}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=True
    )
    return f"<!-- {name} -->\n{done.stdout.strip()}\n\n*{machine()}*\n<!-- /{name} -->\n"


def main(wanted: list[str]) -> None:
    """Replace the sections of `wanted` (all when empty) in the page."""
    unknown = set(wanted) - set(names())
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    page = _read(PAGE) or "# Benchmarks\n\nWritten by `make bench`; do not edit.\n"
    for name in wanted or names():
        section = measure(name)
        old = re.compile(rf"<!-- {name} -->.*<!-- /{name} -->\n", re.DOTALL)
        page = old.sub(lambda _, new=section: new, page) if old.search(page) else f"{page}\n{section}"
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    main(sys.argv[1:])
