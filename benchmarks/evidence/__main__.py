"""`make evidence`: draw and measure what is not there yet, then its numbers in the documentation."""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

from benchmarks.evidence.by_looks import BY_LOOKS, MODELS
from benchmarks.evidence.by_rendering import BY_RENDERING
from benchmarks.evidence.by_vectors import BY_VECTORS
from benchmarks.evidence.questions import QUESTIONS
from benchmarks.evidence.study import Study
from benchmarks.evidence.tables import NUMBERS, write_pages
from benchmarks.evidence.tastes import Vectors
from visunex.base.files import write_json

FOLDER = Path("runs/evidence")


def main(wanted: list[str]) -> None:
    """Answer the questions of these names, else all; what is drawn stays for the next time."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    study = Study(FOLDER, Vectors(FOLDER / "vectors"))
    for name, ask in {**BY_RENDERING, **BY_VECTORS, **QUESTIONS, **BY_LOOKS}.items():
        if name in BY_LOOKS and not (MODELS / "unet.json").exists():
            sys.stderr.write(f"{name}: left as it was, its models are not there: make evidence-models\n")
        elif not wanted or name in wanted:
            began, used = time.monotonic(), time.process_time()
            answer = ask(study)
            found = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
            write_json(NUMBERS, {**found, name: answer})
            took = f"{time.process_time() - used:.0f} s of processor, {time.monotonic() - began:.0f} s"
            sys.stderr.write(f"{name}: {took}\n")
    write_pages()


if __name__ == "__main__":
    main(sys.argv[1:])
