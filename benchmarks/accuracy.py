"""What the short cuts of `visunex-data encode` cost in accuracy: bf16, and JPEGs decoded at reduced scale."""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._encode_peers import photograph, write_photographs
from benchmarks.encode import cosines, encoder_of, random_model
from visunex.clip import factory as clip
from visunex.clip.image_encoder import ImageEncoder
from visunex.clip.preprocess import Seen
from visunex.pipeline.encode.decoding.decode_pool import decode_here
from visunex.pipeline.shards.samples import samples, sources

MEAN_OF = 500
RANDOM = "ViT-B-32"


def precisions(encoders: dict[str, tuple[ImageEncoder, ImageEncoder]]) -> None:
    """Print how alike vectors in bf16 and in fp32 are, of photographs drawn at the towers' size."""
    print("| bf16 against fp32 | least cosine | to reach | cosine of the means | to reach |")
    print("|---|---|---|---|---|")
    for name, (half, full) in encoders.items():
        size = half.preprocessing.size
        pictures = [Seen(np.asarray(photograph(seed, (size, size))), (size, size)) for seed in range(MEAN_OF)]
        ours, exact = (
            np.concatenate([each.vectors(each.stage(pictures[at : at + 20])) for at in range(0, MEAN_OF, 20)])
            for each in (half, full)
        )
        means = cosines(ours.mean(axis=0, keepdims=True), exact.mean(axis=0, keepdims=True))[0]
        least = cosines(ours, exact).min()
        print(f"| {name}, {MEAN_OF} pictures | {least:.6f} | > 0.999 | {means:.8f} | > 0.99999 |", flush=True)


def reduced(folder: Path) -> None:
    """Print how alike the vectors of reduced and exact decoding are, and what each takes, by picture."""
    place = write_photographs(folder / "large", 8, (3000, 2000))
    rows = {}
    for way in (False, True):
        encoder = clip.load_image_encoder(
            "visunex-tiny", precision="fp32", exact_decode=way, preprocess="host"
        )
        began = time.perf_counter()
        seen = [decode_here(each, encoder.preprocessing).seen for each in samples(sources([place]))]
        took = (time.perf_counter() - began) / len(seen)
        rows[way] = took, encoder.vectors(encoder.stage([each for each in seen if each is not None]))
    alike = cosines(rows[False][1], rows[True][1]).min()
    print(
        f"\nJPEGs of 3000x2000 for visunex-tiny: {1e3 * rows[False][0]:.0f} ms to decode and resize at "
        f"reduced scale, {1e3 * rows[True][0]:.0f} ms with `--exact-decode`; least cosine {alike:.6f} "
        "(to reach: > 0.9995).",
        flush=True,
    )


def main() -> None:
    """Print the section."""
    print("## Encode: what short cuts cost\n")
    full, half = (encoder_of(random_model(RANDOM, how), RANDOM, how) for how in ("fp32", "bf16"))
    tiny = (
        clip.load_image_encoder("visunex-tiny", precision="bf16"),
        clip.load_image_encoder("visunex-tiny", precision="fp32"),
    )
    precisions({f"{RANDOM}, random weights": (half, full), "visunex-tiny, trained": tiny})
    with tempfile.TemporaryDirectory() as folder:
        reduced(Path(folder))


if __name__ == "__main__":
    main()
