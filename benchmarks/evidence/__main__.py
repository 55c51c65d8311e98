"""`make evidence`: draw and measure what is not there yet, then the tables of docs/evidence.md anew."""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

from benchmarks.evidence.questions import BY_VECTORS, QUESTIONS, Study
from benchmarks.evidence.tables import with_tables
from benchmarks.evidence.tastes import Vectors
from visunex.base.files import write_json, write_text

FOLDER = Path("runs/evidence")
DOCS = Path(__file__).parents[2] / "docs"
NUMBERS, PAGE = DOCS / "evidence.json", DOCS / "evidence.md"


def main(wanted: list[str]) -> None:
    """Answer the questions of these names, else all; what is drawn stays for the next time."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    study = Study(FOLDER, Vectors(FOLDER / "vectors"))
    for name, ask in {**BY_VECTORS, **QUESTIONS}.items():
        if not wanted or name in wanted:
            began, used = time.monotonic(), time.process_time()
            answer = ask(study)
            found = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
            write_json(NUMBERS, {**found, name: answer})
            took = f"{time.process_time() - used:.0f} s of processor, {time.monotonic() - began:.0f} s"
            sys.stderr.write(f"{name}: {took}\n")
    if PAGE.exists():
        found = json.loads(NUMBERS.read_text(encoding="utf-8"))
        write_text(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), found))


if __name__ == "__main__":
    main(sys.argv[1:])
