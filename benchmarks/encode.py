"""Encode: the whole path from JPEGs on disk to vectors on disk, against the image tower alone.

python -m benchmarks.encode                      # both towers, 5 pairs each
python -m benchmarks.encode --pairs 1 --pictures 32 --towers ViT-B-32
"""

import argparse
import io
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from visunex.base.console import Progress
from visunex.pipeline import clip
from visunex.pipeline.clip import ImageEncoder
from visunex.pipeline.decoders import decode_here
from visunex.pipeline.partitions import default_batch_size, default_workers, encode_vectors
from visunex.pipeline.preprocess import Preprocessing
from visunex.pipeline.shards import samples, sources
from visunex.recipes import Encode

SIZE = (1200, 850)  # about 1 megapixel, as in LAION's aesthetic subsets


def photograph(seed: int) -> bytes:
    """A JPEG with structure at all scales: what decoding costs depends on it."""
    random = np.random.default_rng(seed)
    layers = [
        Image.fromarray(random.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)).resize(SIZE)
        for side in (6, 24, 96, 384)
    ]
    mixed = np.mean([np.asarray(layer, dtype=np.float32) for layer in layers], axis=0)
    buffer = io.BytesIO()
    Image.fromarray(mixed.astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def random_tower(name: str) -> ImageEncoder:
    """The tower with random weights: speed does not depend on them, and nothing is fetched."""
    import open_clip
    import torch

    torch.manual_seed(0)
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns of what is meant here: random weights
    device = clip.choose_device()
    precision = clip.choose_precision("auto", device)
    model = open_clip.create_model(name, None, precision=precision, device=device, force_quick_gelu=True)
    return ImageEncoder(
        model=name,
        pretrained="random",
        weights="random",
        activation="QuickGELU",
        dimension=open_clip.get_model_config(name)["embed_dim"],
        device=device,
        precision=precision,
        preprocessing=Preprocessing(size=model.visual.image_size[0]),
        tower=model.visual.eval(),
    )


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def whole(folder: Path, encoder: ImageEncoder, settings: Encode) -> None:
    """Reading, decoding, resizing, the tower, writing."""
    with tempfile.TemporaryDirectory() as out:
        account, _ = encode_vectors(sources([folder]), Path(out), encoder, settings, Progress("encode", None))
    if account.failed:
        raise SystemExit(f"pictures failed: {account.failed}")


def tower_alone(encoder: ImageEncoder, pixels: np.ndarray, batch: int) -> None:
    """The ceiling: the same batches, already in memory."""
    for begin in range(0, len(pixels), batch):
        encoder.encode(pixels[begin : begin + batch])


def row(name: str, folder: Path, pairs: int) -> str:
    """One line of the table: medians of `pairs` measurements taken in turn."""
    encoder, settings = random_tower(name), Encode()
    batch = default_batch_size(encoder.device)
    decoded = decode_here(samples(sources([folder])), encoder.preprocessing)
    pixels = np.stack([each.pixels for each in decoded if each.pixels is not None])
    tower_alone(encoder, pixels[:batch], batch)  # once for warmth
    measured = [
        (
            seconds(lambda: whole(folder, encoder, settings)),
            seconds(lambda: tower_alone(encoder, pixels, batch)),
        )
        for _ in range(pairs)
    ]
    end_to_end, alone = (statistics.median(column) for column in zip(*measured, strict=True))
    ratio = statistics.median(tower / total for total, tower in measured)
    workers = default_workers(encoder.device)
    return (
        f"| {name} | {encoder.precision} on {encoder.device}, {workers} worker(s), batch {batch} "
        f"| {len(pixels) / end_to_end:.1f} | {len(pixels) / alone:.1f} | {ratio:.2f} |"
    )


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--towers", nargs="+", default=["ViT-B-32", "ViT-L-14"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for index in range(asked.pictures):
            Path(place, f"{index:05d}.jpg").write_bytes(photograph(index))
        rows = [row(name, Path(place), asked.pairs) for name in asked.towers]
    print("## Encode: from JPEGs to vectors, against the tower alone\n")
    print(
        f"{asked.pictures} JPEGs of {SIZE[0]}x{SIZE[1]}; random weights; starting the decoders is included.\n"
    )
    print("| tower | how | end to end, pictures/s | tower alone, pictures/s | ratio |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
