"""Kill `visunex-data run demo_flower` -9 at random moments, resume, compare with an undisturbed run.

python tests/kill_resume.py --times 20
"""

import argparse
import contextlib
import hashlib
import os
import random
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import torch
from click.testing import CliRunner

from visunex.demo.world import World
from visunex.pipeline.cli import main

# The one thing that a busy machine decides is which links answer in time. So links that hang are left out,
# and no deadline is short enough for the others to miss it.
HANGING = [entry.path for entry in World().entries if entry.fate == "hanging"]
RECIPE = [
    "demo_flower",
    "--set=filter.top=60",
    "--set=download.shard_size=10",
    "--set=download.processes=2",
    "--set=download.deadline=60",
    "--set=filter.where=" + " AND ".join(f"URL NOT LIKE '%{path}'" for path in HANGING),
]


@dataclass(frozen=True)
class Outcome:
    """What a finished run left behind; `failures` says why candidates gave no picture."""

    selected: bytes
    pictures: dict[str, str]
    embedding: torch.Tensor
    failures: dict[str, str] = field(default_factory=dict)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(run: Path) -> subprocess.Popen[bytes]:
    """Start the run in a process group of its own."""
    command = [sys.executable, "-m", "visunex.pipeline", "run", *RECIPE, "--run", str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def finish(run: Path) -> None:
    """Run to the end, by the same command in this process: only one that is killed needs its own."""
    done = CliRunner().invoke(main, ["run", *RECIPE, "--run", str(run)], prog_name="visunex-data")
    if done.exit_code:
        raise RuntimeError(f"exit status {done.exit_code}:\n{done.output}")


def files_of(run: Path) -> list[Path]:
    """The files in a run's folder, those that are being written among them."""
    return [path for path in run.rglob("*") if path.is_file()]


def kill_once(run: Path, files: int, pause: float) -> None:
    """Start the run and kill its main process, as the kernel's OOM killer would: `pause` after so many files.

    However fast the machine is, it is as far then; a run that ends before is not killed.
    """
    process = start(run)
    while process.poll() is None and len(files_of(run)) < files:
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=pause)
    process.kill()
    process.communicate()


def outcome(run: Path) -> Outcome:
    """Read back what a run made."""
    downloaded = pl.read_parquet(run / "downloaded.parquet")
    chosen = set(downloaded.filter("chosen")["key"])
    failed = downloaded.filter(pl.col("error_message").is_not_null())
    failures = dict(zip(failed["key"], failed["error_message"], strict=True))
    pictures = {}
    for path in sorted((run / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if extension not in ("json", "txt") and key in chosen:
                    pictures[key] = hashlib.sha256(tar.extractfile(member).read()).hexdigest()  # type: ignore[union-attr]
    embedding = torch.load(run / "embedding.pt", weights_only=True)
    return Outcome((run / "selected.parquet").read_bytes(), pictures, embedding, failures)


def leftovers(run: Path) -> list[str]:
    """Files that no finished run has."""
    known = {".json", ".parquet", ".tar", ".npy", ".pt", ".toml", ".html", ".webp", ""}
    return [str(path) for path in run.rglob("*") if path.is_file() and path.suffix not in known]


def compare(undisturbed: Outcome, resumed: Outcome) -> float:
    """The cosine distance of the embeddings; raises AssertionError when anything else differs."""
    assert resumed.selected == undisturbed.selected, "selected.parquet differs"
    assert resumed.pictures == undisturbed.pictures, _difference(undisturbed, resumed)
    distance = 1 - torch.cosine_similarity(undisturbed.embedding.double(), resumed.embedding.double()).item()
    assert distance <= 1e-6, f"the embeddings are {distance:.1e} apart"
    return distance


def _difference(undisturbed: Outcome, resumed: Outcome) -> str:
    """Which pictures only one of the two has, and why the other has not."""
    keys = sorted(set(undisturbed.pictures.items()) ^ set(resumed.pictures.items()))
    lines = [
        f"  {key}: undisturbed {_fate(undisturbed, key)}, resumed {_fate(resumed, key)}" for key in dict(keys)
    ]
    return "\n".join(["the set of pictures differs", *lines])


def _fate(outcome: Outcome, key: str) -> str:
    return outcome.pictures.get(key) or outcome.failures.get(key) or "not chosen"


def trials(folder: Path, times: int, seed: int) -> list[str]:
    """Run undisturbed, then `times` runs killed once at a random moment and resumed; a line on each."""
    rng = random.Random(seed)
    os.environ["VISUNEX_DEMO_PORT"] = str(
        free_port()
    )  # other demo runs of this machine must not lend a server
    finish(folder / "undisturbed")
    undisturbed, most = outcome(folder / "undisturbed"), len(files_of(folder / "undisturbed"))
    lines = [f"undisturbed: {most} files, {len(undisturbed.pictures)} pictures"]
    for number in range(times):
        run = folder / f"killed-{number}"
        files, pause = rng.randrange(most), rng.uniform(0, 0.2)
        kill_once(run, files, pause)
        finish(run)
        distance = compare(undisturbed, outcome(run))
        assert not leftovers(run), leftovers(run)
        moment = f"{pause:.2f} s after {files} files"
        lines.append(f"killed {moment}, resumed: the same, embeddings {distance:.1e} apart")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(trials(Path(folder), arguments.times, arguments.seed)))
