"""A run: its stages at the same time against one after another, and what it needs on disk.

    python -m benchmarks.run                # 5 rounds
    python -m benchmarks.run --rounds 1

Pictures come from a server on the loopback that takes its time for each, as the web does. Whole processes are
timed, in turns.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks._plots import plot
from visunex.base.files import write_text
from visunex.recipes import Recipe, dumps

WANTED, CANDIDATES = 330, 550  # two links of five are dead
LATENCY = 0.7  # seconds for each answer
PROCESSES, THREADS, SHARD = 2, 16, 10
SIDE = 512  # pixels of a picture
LIMIT = 1.15  # of the slower stage alone


class Handler(BaseHTTPRequestHandler):
    """Answers after LATENCY with a picture that no other address has, or that there is none."""

    protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1
    pictures: tuple[bytes, ...] = ()
    latency = LATENCY

    def do_GET(self) -> None:
        row = int(self.path[1:].partition(".")[0])
        time.sleep(self.latency)
        body = b"" if row % 5 in (1, 3) else marked(self.pictures[row % len(self.pictures)], row)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def picture(seed: int) -> bytes:
    """A JPEG with structure at all scales."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).resize((SIDE, SIDE)), float
        )
        for side in (6, 24, 96, 256)
    ]
    buffer = io.BytesIO()
    Image.fromarray(np.mean(layers, axis=0).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def marked(jpeg: bytes, row: int) -> bytes:
    """The same picture with a comment in its file, so that none is a duplicate."""
    comment = f"row {row}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def model(folder: Path) -> str:
    """A tower as large as ViT-S/16 with random weights, in open_clip's folder form."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {
        "embed_dim": 384,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 384, "patch_size": 16, "head_width": 64},
        "text_cfg": {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic"}
    folder.mkdir()
    torch.manual_seed(0)
    save_file(open_clip.model.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described), encoding="utf-8")
    return f"local-dir:{folder}"


def recipe(folder: Path, base: str) -> Path:
    """A recipe file and the metadata that it names."""
    rows = {
        "URL": [f"{base}/{row}.jpg" for row in range(CANDIDATES)],
        "TEXT": [""] * CANDIDATES,
        "AESTHETIC_SCORE": [8 - row / CANDIDATES for row in range(CANDIDATES)],
    }
    pq.write_table(pa.table(rows), folder / "metadata.parquet")
    settings = {
        "name": "benchmark",
        "source": str(folder / "metadata.parquet"),
        "filter": {"top": WANTED},
        "download": {
            "shard_size": SHARD,
            "processes": PROCESSES,
            "threads": THREADS,
            "host_connections": PROCESSES * THREADS,
            "allow_private": True,
        },
        "encode": {"model": model(folder / "model")},
    }
    write_text(folder / "recipe.toml", dumps(Recipe.model_validate(settings)))
    return folder / "recipe.toml"


def command(*arguments: str | Path, watch: Callable[[], None] = lambda: None) -> float:
    """The seconds that `visunex-data` takes, from start to end."""
    began = time.perf_counter()
    whole = [sys.executable, "-m", "visunex.pipeline", *map(str, arguments)]
    process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        watch()
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}:\n{errors}")
    return seconds


def one_round(folder: Path, file: Path) -> tuple[float, float, float]:
    """Seconds of the run, and of its download and its encode alone."""
    whole, parts = folder / "whole", folder / "parts"
    for path in (whole, parts):
        shutil.rmtree(path, ignore_errors=True)
    run = command("run", file, "--run", whole)
    parts.mkdir()
    for name in ("selected.parquet", "recipe.toml"):
        shutil.copy(whole / name, parts / name)
    download, encode = (command(stage, "--run", parts) for stage in ("download", "encode"))
    used = [
        json.loads((path / "embedding.json").read_text(encoding="utf-8"))["images"]["used"]
        for path in (whole, parts)
    ]
    if used != [WANTED, WANTED]:
        sys.exit(f"{used} pictures instead of {WANTED} each")
    return run, download, encode


def megabytes(folder: Path) -> float:
    """What the files of a folder take on disk, while some of them come and go."""
    blocks = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                blocks += (Path(inside) / name).stat().st_blocks
    return blocks * 512 / 1e6


def disk(kept: Path, discarded: Path, file: Path) -> str:
    """A table of what a run leaves on disk; the run that discards its pictures is made here, and watched."""
    seen: list[float] = []
    command(
        "run", file, "--run", discarded, "--discard-images", watch=lambda: seen.append(megabytes(discarded))
    )
    lines = ["| | MB on disk in the end | most while running |", "|---|---|---|"]
    lines += [f"| pictures kept | {megabytes(kept):.1f} | the same |"]
    lines += [f"| `--discard-images` | {megabytes(discarded):.1f} | {max(seen):.1f} |"]
    return "\n".join(lines)


def table(rounds: list[tuple[float, float, float]]) -> str:
    """One line for each round, and what the medians say."""
    lines = ["| run | download alone | encode alone | sum | run against the slower stage |"]
    lines += ["|---|---|---|---|---|"]
    for run, *stages in rounds:
        lines.append(
            f"| {run:.1f} s | {stages[0]:.1f} s | {stages[1]:.1f} s | {sum(stages):.1f} s "
            f"| {run / max(stages):.2f} |"
        )
    slower = statistics.median(run / max(stages) for run, *stages in rounds)
    saved = statistics.median(run / sum(stages) for run, *stages in rounds)
    verdict = (
        f"Median: **{slower:.2f}** of the slower stage alone, {saved:.2f} of the sum (target <= {LIMIT})."
    )
    bars = {"the slower stage alone": f"{slower:.2f}x", "both, one after the other": f"{saved:.2f}x"}
    return "\n".join(
        [*lines, "", verdict, plot("A run's time against that of its stages", bars, f"<= {LIMIT}")]
    )


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    Handler.pictures = tuple(picture(seed) for seed in range(40))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as place:
        file = recipe(Path(place), f"http://127.0.0.1:{server.server_port}")
        rounds = [one_round(Path(place), file) for _ in range(asked.rounds)]
        print("## Run: download and encode at the same time, against each alone\n")
        print(
            f"{WANTED} pictures of {SIDE}x{SIDE} out of {CANDIDATES} links, of which two in five are dead; a "
            f"server on the loopback that answers after {LATENCY} s; {PROCESSES} processes of {THREADS} "
            f"threads, shards of {SHARD} candidates; a tower of ViT-S/16's size with random weights. Whole "
            "processes, in turns.\n"
        )
        print(table(rounds) + "\n")
        print(disk(Path(place) / "whole", Path(place) / "discarded", file))


if __name__ == "__main__":
    main()
