"""Fuzzing of one loader: its inputs in child processes, and what became of them counted."""

import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .child import inputs
from .loader import LOADERS, Loader

__all__ = ["FAULTS", "Counts", "fuzz"]

FAULTS = ("uncaught", "signal", "memory", "slow")
_SECONDS, _START = 10.0, 300.0  # for one input, and for a process to begin
_HANGS = 30.0  # seconds after which an input is given up
_MEMORY = 2 << 30  # bytes that one input may take
_MOST = 6 << 30  # and what a process may hold before it is ended
_BATCH = 5000  # inputs of one process
_SUPPORT = Path(__file__).parents[1]


@dataclass
class Counts:
    """What became of a loader's inputs, and the faults found: number, kind, what was said."""

    loader: str
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())


def fuzz(
    names: Sequence[str], count: int, *, seed: int = 14, first: int = 0, keep: Path | None = None
) -> dict[str, Counts]:
    """Read bent inputs of loaders, `count` of each or its share; what fails is copied to `keep`."""
    counts = {name: Counts(name) for name in names}
    asked = _Asked(tuple(names), seed, first, count)
    left = inputs([LOADERS[name] for name in names], first, count)
    done = 0
    while done < len(left):
        for name, number, kind, said in _read(asked, done):
            if kind in FAULTS and LOADERS[name].in_use is not None:
                kind, said = _in_use(name, seed, number)
            counts[name].outcomes[kind] += 1
            if kind in FAULTS:
                counts[name].faults.append((number, kind, said))
                if keep is not None:
                    _keep(LOADERS[name], seed, number, kind, said, keep)
            done += 1
    return counts


@dataclass(frozen=True)
class _Asked:
    """What a child is asked for; see `child.main`."""

    names: tuple[str, ...]
    seed: int
    first: int
    count: int
    how: str = "read"

    def command(self, done: int, folder: str) -> list[str]:
        numbers = map(str, (self.seed, self.first, self.count, done))
        return [sys.executable, "-m", "fuzz.child", ",".join(self.names), *numbers, folder, self.how]


def _read(asked: _Asked, done: int) -> Iterator[tuple[str, int, str, str]]:
    """Yield (loader, number, outcome, what was said) from a new child, until it or an input has ended it."""
    left = inputs([LOADERS[name] for name in asked.names], asked.first, asked.count)[done : done + _BATCH]
    paths = os.pathsep.join([str(_SUPPORT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        process = subprocess.Popen(
            asked.command(done, folder),
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(process, lines), daemon=True).start()
        try:
            yield from _outcomes(left, lines, process, Path(folder))
        finally:
            process.kill()
            process.wait()


def _outcomes(
    left: Sequence[tuple[Loader, int]],
    lines: "queue.SimpleQueue[str]",
    process: "subprocess.Popen[str]",
    folder: Path,
) -> Iterator[tuple[str, int, str, str]]:
    before = None
    for loader, number in left:
        if loader is not before and _next(lines, _START) != '["ready"]\n':
            raise RuntimeError(f"{loader.name}: the process did not begin: {_said(folder)}")
        before = loader
        if not (line := _next(lines, _HANGS, process.pid)):
            ended = "signal" if line == "" else "memory" if _resident(process.pid) > _MOST else "slow"
            yield loader.name, number, ended, f"exit {process.poll()}; {_said(folder)}"
            return
        _, _, kind, said, seconds, growth = json.loads(line)
        kind = "memory" if growth > _MEMORY else "slow" if seconds > _SECONDS else kind
        yield loader.name, number, kind, f"{said} ({seconds:.1f} s, {growth >> 20} MiB)"


def _in_use(name: str, seed: int, number: int) -> tuple[str, str]:
    """The outcome that counts where commands read in a process that is watched: what comes of that."""
    asked = _Asked((name,), seed, number, 1, "in_use")
    return next((kind, said) for _, _, kind, said in _read(asked, 0))


def _pass_on(process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str]") -> None:
    assert process.stdout is not None
    with process.stdout as said:
        for line in said:
            lines.put(line)
    lines.put("")


def _next(lines: "queue.SimpleQueue[str]", seconds: float, pid: int = 0) -> str | None:
    """The next line; the empty text when the process has ended, None when nothing came in time or memory."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and _resident(pid) <= _MOST:
        try:
            return lines.get(timeout=0.2)
        except queue.Empty:
            continue
    return None


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where that cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


def _said(folder: Path) -> str:
    path = folder / "stderr"
    return path.read_bytes()[-1500:].decode(errors="replace") if path.exists() else ""


def _keep(loader: Loader, seed: int, number: int, kind: str, said: str, keep: Path) -> None:
    """The bent file, and beside it what became of it and how to read it again."""
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        dice = random.Random(f"{loader.name} {seed} {number}")
        chosen = dice.choice(list(loader.seeds(Path(folder))))
        data = chosen.bent(dice)
    stem = f"{loader.name}-{seed}-{number}".replace("/", "_")
    (keep / f"{stem}-{Path(chosen.file).name}").write_bytes(data)
    again = f"python -m fuzz --only={loader.name!r} --seed {seed} --first {number} --count 1"
    (keep / f"{stem}.said").write_text(f"{kind}\n{again}\n{said}\n", encoding="utf-8", errors="replace")
