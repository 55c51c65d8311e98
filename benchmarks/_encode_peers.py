"""What `benchmarks.encode` compares with: the original's loop, clip-retrieval, and pictures for all."""

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PEER = Path(__file__).parent.parent / ".interop" / "bin" / "clip-retrieval"
SIZE = (1200, 850)  # about 1 megapixel, as in LAION's aesthetic subsets
_PATIENCE = 240  # seconds for clip-retrieval, its start included
DISTINCT = 128  # pictures; what is more repeats them under other names


def photograph(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture with structure at all scales: what decoding costs depends on it."""
    random = np.random.default_rng(seed)
    layers = [
        Image.fromarray(random.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)).resize(size)
        for side in (6, 24, 96, 384)
    ]
    mixed = np.mean([np.asarray(layer, dtype=np.float32) for layer in layers], axis=0)
    return Image.fromarray(mixed.astype(np.uint8))


def write_photographs(folder: Path, count: int, size: tuple[int, int] = SIZE) -> Path:
    """JPEGs `00000.jpg` and so on in a new folder."""
    folder.mkdir()
    files: list[bytes] = []
    for seed in range(min(count, DISTINCT)):
        buffer = io.BytesIO()
        photograph(seed, size).save(buffer, "JPEG", quality=88)
        files.append(buffer.getvalue())
    for index in range(count):
        (folder / f"{index:05d}.jpg").write_bytes(files[index % DISTINCT])
    return folder


def one_by_one(model: object, folder: Path, count: int) -> tuple[float, NDArray[np.float32]]:
    """The loop of the original method's script: open, preprocess, encode alone, append. Rate and vectors."""
    import torch
    from open_clip import image_transform

    preprocess = image_transform(224, is_train=False)
    vectors = []
    began = time.perf_counter()
    with torch.no_grad():
        for path in sorted(folder.glob("*.jpg"))[:count]:
            picture = preprocess(Image.open(path)).unsqueeze(0)
            vectors.append(model.encode_image(picture))  # type: ignore[attr-defined]
    return count / (time.perf_counter() - began), torch.cat(vectors).numpy()


def clip_retrieval(folder: Path, weights: Path, out: Path) -> tuple[float, NDArray[np.float32]] | str:
    """`clip-retrieval inference` as it comes, by its own statistics: loading is not counted; or why not.

    The rate is of reading, inference and writing; the vectors are in the order of the files' names.
    """
    if not PEER.exists():
        return "not measured (`make .interop/.installed`)"
    command = [str(PEER), "inference", "--input_dataset", str(folder), "--output_folder", str(out)]
    command += ["--clip_model", f"open_clip:ViT-L-14-quickgelu/{weights}", "--enable_text", "False"]
    command += ["--batch_size", "32"]  # it warms up with two batches: of its default, 256, for eight minutes
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        print(f"clip-retrieval was not done in {_PATIENCE} s:\n{error.stderr!r:.2000}", file=sys.stderr)
        return f"nothing after {_PATIENCE} s"
    statistics = sorted((out / "stats").glob("*.json"))
    if done.returncode or not statistics:
        print(f"clip-retrieval failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return "failed"
    said = [json.loads(path.read_text(encoding="utf-8")) for path in statistics]
    count, took = (sum(each[key] for each in said) for key in ("sample_count", "total_duration"))
    vectors = [np.load(path) for path in sorted((out / "img_emb").glob("*.npy"))]
    return count / took, np.concatenate(vectors).astype(np.float32)


def peak_memory(arguments: list[str]) -> int:
    """The resident bytes of `visunex-data` with these arguments at its peak, its decoders not counted.

    As the kernel notes it of the program alone: `ru_maxrss` begins with what its parent had.
    """
    code = (
        "import atexit, pathlib, sys; from visunex.pipeline.cli import main\n"
        "atexit.register(lambda: print(pathlib.Path('/proc/self/status').read_text(), file=sys.stderr))\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", done.stderr)[-1])
