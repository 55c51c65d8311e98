"""A process that reads bent inputs, one after another, and says what became of each on its own line."""

import importlib
import json
import os
import random
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from .loader import LOADERS, Loader

__all__ = ["inputs", "main"]

_NOISE = (b"panicked at", b"Traceback (most recent")  # on standard error: caught too late, or not by us


def main(names: str, seed: str, first: str, count: str, skip: str, folder: str, how: str) -> None:
    """Read inputs of loaders, `count` of each or its share, from the number `first` on; `skip` are done.

    `how` is read or in_use.
    """
    importlib.import_module("fuzz.kinds")  # registers all loaders
    warnings.simplefilter("ignore")
    place = Path(folder)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(place / "stderr", os.O_RDWR | os.O_CREAT | os.O_TRUNC), 2)
    left = inputs([LOADERS[name] for name in names.split(",")], int(first), int(count))[int(skip) :]
    for loader, numbers in groupby(left, lambda each: each[0]):
        scratch = place / loader.name.replace("/", "_")
        scratch.mkdir()
        os.chdir(scratch)
        seeds = list(loader.seeds(scratch))
        _warm_up(loader, scratch, seeds)
        print(json.dumps(["ready"]), file=out, flush=True)
        for _, number in numbers:
            dice = random.Random(f"{loader.name} {seed} {number}")
            chosen = dice.choice(seeds)
            path = scratch / chosen.file
            path.write_bytes(chosen.bent(dice))
            read = loader.in_use if how == "in_use" and loader.in_use else loader.read
            outcome = _outcome(read, path, place / "stderr")
            if len(seeds) > 1:
                path.write_bytes(chosen.pack(chosen.data))  # sound again, beside the next
            print(json.dumps([loader.name, number, *outcome]), file=out, flush=True)


def inputs(loaders: Iterable[Loader], first: int, count: int) -> list[tuple[Loader, int]]:
    """The numbers of each loader's inputs, its share of `count`."""
    return [
        (each, number) for each in loaders for number in range(first, first + max(1, int(count * each.share)))
    ]


def _warm_up(loader: Loader, scratch: Path, seeds: list[Any]) -> None:
    """Everything in its sound form, read once: what that loads and takes is no input's growth."""
    for each in seeds:
        (scratch / each.file).parent.mkdir(parents=True, exist_ok=True)
        (scratch / each.file).write_bytes(each.pack(each.data))
    for each in seeds:
        try:
            loader.read(scratch / each.file)
        except Exception as error:
            if not _is_named(error):
                raise


def _outcome(read: Any, path: Path, said: Path) -> tuple[str, str, float, int]:
    said.write_bytes(b"")
    before, began = _most_memory(anew=True), time.monotonic()
    kind, message = "accepted", ""
    try:
        read(path)
    except BaseException as error:
        named = _is_named(error)
        kind = "named" if named else "uncaught"
        message = str(error)[:300] if named else traceback.format_exc()[-3000:]
        if named and not message.strip():
            kind, message = "uncaught", "an error without a word"
    seconds = time.monotonic() - began
    noise = said.read_bytes()
    if any(each in noise for each in _NOISE):
        kind, message = "uncaught", noise[-1000:].decode(errors="replace")
    return kind, message, seconds, _most_memory() - before


def _is_named(error: BaseException) -> bool:
    import click

    from visunex.base.errors import VisunexError
    from visunex.images.errors import ImageError

    return isinstance(error, (VisunexError, ImageError, click.ClickException))


def _most_memory(*, anew: bool = False) -> int:
    """The most bytes that this process has held; from now on where `anew`."""
    try:
        if anew:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
