"""Encode: from JPEGs on disk to vectors on disk, against the tower alone, the processor's limit and peers.

python -m benchmarks.encode                                # all of it, in some eight minutes on two cores
python -m benchmarks.encode --pairs 1 --only towers memory

clip-retrieval is measured where `make .interop/.installed` has put it.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._encode_peers import clip_retrieval, one_by_one, peak_memory, write_photographs
from benchmarks._plots import plot
from visunex.base.progress import Progress
from visunex.clip.devices import choose_precision, dtype_of, share_the_cpu
from visunex.clip.image_encoder import ImageEncoder
from visunex.clip.precision import lower
from visunex.clip.preprocess import Preprocessing
from visunex.pipeline.encode.partition_encoder import default_batch_size, encode_vectors
from visunex.pipeline.shards.samples import sources
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Encode

PICTURES = {"ViT-B-32": 512, "ViT-L-14": 64}  # some ten seconds and more of each
TARGETS = {"ViT-B-32": 0.75, "ViT-L-14": 0.92}
BESIDE_PEERS = 40  # pictures for clip-retrieval, which takes a second for each
ONE_BY_ONE = 4  # pictures in each of the rounds of the loop
GROWN = (500, 4000)  # pictures whose peak memory is compared


def random_model(name: str, precision: str) -> object:
    """The same random weights in every precision: speed does not depend on them, and nothing is fetched."""
    import logging

    import open_clip
    import torch

    torch.manual_seed(0)
    logging.disable(logging.WARNING)  # open_clip warns of what is meant here: random weights
    model = open_clip.create_model(name, None, force_quick_gelu=True).eval()
    if precision != "fp32":
        lower(model.visual, dtype_of(precision))
    return model


def encoder_of(model: object, name: str, precision: str) -> ImageEncoder:
    """The model's image tower as `visunex-data encode` uses it."""
    tower = model.visual  # type: ignore[attr-defined]
    return ImageEncoder(
        model=name,
        pretrained="random",
        weights="random",
        activation="QuickGELU",
        dimension=int(tower.output_dim),
        device="cpu",
        precision=precision,  # type: ignore[arg-type]
        preprocessing=Preprocessing(size=tower.image_size[0], on_device=True),
        network=tower,
    )


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def whole(folder: Path, encoder: ImageEncoder) -> NDArray[np.float32]:
    """Reading, decoding, resizing, the tower, writing; decoders are started, too. The vectors."""
    with tempfile.TemporaryDirectory() as out:
        counts, _ = encode_vectors(sources([folder]), Path(out), encoder, Encode(), Progress("encode", None))
        if counts.failed:
            raise SystemExit(f"pictures failed: {counts.failed}")
        return np.concatenate(list(read_vectors(Path(out)).units()))


def tower_alone(encoder: ImageEncoder, batch: int, pictures: int) -> None:
    """The ceiling: batches of tensors that are in memory, ready for the tower."""
    import torch

    size = encoder.preprocessing.size
    ready = torch.randn(batch, 3, size, size)
    with torch.inference_mode():
        for _ in range(pictures // batch):
            encoder.network(ready)


def gemm_peak(precision: str) -> float:
    """Floating-point operations in a second of the best of ten large matrix products."""
    import torch

    side = 4096
    a, b = (torch.randn(side, side).to(dtype_of(precision)) for _ in range(2))  # type: ignore[arg-type]
    return 2 * side**3 / min(seconds(lambda: a @ b) for _ in range(10))


def operations(encoder: ImageEncoder) -> float:
    """Floating-point operations of a ViT for one picture: its matrix products alone."""
    tower = encoder.network
    tokens, width = tower.positional_embedding.shape  # type: ignore[operator,misc]
    layers, patch = len(tower.transformer.resblocks), tower.patch_size[0]  # type: ignore[union-attr,index,arg-type]
    blocks = layers * tokens * (24 * width**2 + 4 * tokens * width)
    return float(blocks + 2 * (tokens - 1) * 3 * patch**2 * width)


def towers(folder: Path, pairs: int, encoders: dict[str, ImageEncoder]) -> dict[str, float]:
    """Print end to end against the tower alone; pictures in a second, end to end, by tower."""
    print(
        "| tower | how | end to end, pictures/s | tower alone | ratio | to reach | share of the GEMM peak |"
    )
    print("|---|---|---|---|---|---|---|")
    found, ratios = {}, {}
    for name, encoder in encoders.items():
        batch, count = default_batch_size(encoder.device), PICTURES[name]
        place = write_photographs(folder / name, count)
        tower_alone(encoder, batch, 4 * batch)  # once for warmth
        measured = [
            (
                seconds(lambda: whole(place, encoder)),  # noqa: B023 - called at once
                seconds(lambda: tower_alone(encoder, batch, count)),  # noqa: B023
            )
            for _ in range(pairs)
        ]
        rates = [count / statistics.median(column) for column in zip(*measured, strict=True)]
        ratio = statistics.median(alone / total for total, alone in measured)
        share = rates[0] * operations(encoder) / gemm_peak(encoder.precision)
        found[name], ratios[name] = rates[0], ratio
        print(
            f"| {name} | {encoder.precision} on {encoder.device}, batch {batch}, {count} pictures "
            f"| {rates[0]:.1f} | {rates[1]:.1f} | {ratio:.2f} | >= {TARGETS[name]} | {share:.0%} |",
            flush=True,
        )
    bars = {f"{name} (>= {TARGETS[name]})": f"{ratio:.2f}" for name, ratio in ratios.items()}
    print("\n" + plot("End to end, against the tower alone", bars))
    return found


def peers(folder: Path, rounds: int, encoder: ImageEncoder, ours: float) -> None:
    """Print ViT-L/14 against the loop and clip-retrieval, on the same random weights, both in fp32."""
    import torch

    model = random_model("ViT-L-14", "fp32")
    place = write_photographs(folder / "peers", BESIDE_PEERS)
    expected = whole(place, encoder)
    rates, vectors = zip(*(one_by_one(model, place, ONE_BY_ONE) for _ in range(rounds)), strict=True)
    weights = folder / "random.pt"
    torch.save(model.state_dict(), weights)  # type: ignore[attr-defined]
    del model
    rows = {"one picture at a time": (statistics.median(rates), cosines(vectors[0], expected[:ONE_BY_ONE]))}
    theirs = clip_retrieval(place, weights, folder / "theirs")
    if not isinstance(theirs, str):
        rows["clip-retrieval 2.45 inference"] = (theirs[0], cosines(theirs[1], expected))
    print("\n| ViT-L-14, the same weights | pictures/s | visunex is faster | to reach | cosine to ours |")
    print("|---|---|---|---|---|")
    for name, (rate, alike) in rows.items():
        print(f"| {name} | {rate:.2f} | {ours / rate:.1f}x | >= 3 | >= {alike.min():.5f} |")
    if isinstance(theirs, str):
        print(f"| clip-retrieval 2.45 inference | {theirs} | | >= 3 | |")
    bars = {name: f"{ours / rate:.1f}x" for name, (rate, _) in rows.items()}
    print("\n" + plot("Encode ViT-L/14: how many times faster", bars, ">= 3"), flush=True)


def memory(folder: Path) -> None:
    """Print the command's peak memory for few and for many pictures."""
    peaks = []
    for count in GROWN:
        place = write_photographs(folder / str(count), count, (320, 240))
        command = ["encode", "--images", str(place), "--model", "visunex-tiny"]
        peaks.append(peak_memory([*command, "--out", str(folder / "x.pt")]))
    few, many = GROWN
    print(
        f"\nPeak memory of `visunex-data encode` (visunex-tiny), {many} pictures against {few}: "
        f"{peaks[1] / 2**20:.0f} MiB against {peaks[0] / 2**20:.0f} MiB, {peaks[1] / peaks[0]:.2f}x "
        "(to reach: <= 1.1).",
        flush=True,
    )


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each row to the same row."""
    a, b = (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True) for rows in (a, b))
    return (a * b).sum(axis=1)


PARTS = ("towers", "peers", "memory")


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    asked = parser.parse_args()
    share_the_cpu()  # before torch is imported
    precision = choose_precision("auto", "cpu")
    print("## Encode: from JPEGs to vectors\n")
    print(
        "JPEGs of 1200x850 with structure at all scales; random weights; medians of "
        f"{asked.pairs}, taken in turn; starting the decoders is included.\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoders = {name: encoder_of(random_model(name, precision), name, precision) for name in PICTURES}
        rates = towers(folder, asked.pairs, encoders) if {"towers", "peers"} & set(asked.only) else {}
        if "peers" in asked.only:
            peers(folder, asked.pairs, encoders["ViT-L-14"], rates["ViT-L-14"])
        if "memory" in asked.only:
            memory(folder)


if __name__ == "__main__":
    main()
