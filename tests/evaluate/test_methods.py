"""Each method gets the taste into pictures, over the same noise."""

import shutil
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from evaluating import Done
from PIL import Image

from visunex.aesthetic_embeddings import load
from visunex.aesthetic_embeddings.space import Space
from visunex.evaluate.cli import main
from visunex.evaluate.encoders import Encoders
from visunex.generate import Sampler, Settings


def test_best_of_two_is_the_nearer_of_two(done: Done, run: Path) -> None:
    sampler, encoders = Sampler.load("visunex-tiny", device="cpu"), Encoders("cpu")
    taste = load(run / "embedding.pt").vector[0]
    plain, best = done.of("plain"), done.of("best of 2")
    for row, chosen in zip(plain[::2], best[::2], strict=True):
        settings = Settings(steps=6, samples=2, seed=row["seed"] + 2, guidance_scale=7.5)
        (later,) = sampler.sample(row["prompt"], settings)
        pair = [Image.open(done.folder / row["image"]), later.images[0]]
        cosines = encoders.images(Space("visunex-tiny", ""), pair) @ taste
        shown = Image.open(done.folder / chosen["image"])
        assert np.array_equal(np.asarray(shown), np.asarray(pair[int(cosines.argmax())]))


def test_what_is_learnt_draws_other_pictures(done: Done) -> None:
    names = ("plain", "steer 10", "lora 10", "token 10", "words", "best of 2")
    assert list(dict.fromkeys(row["setting"] for row in done.rows)) == [*names]
    pictures = {name: [(done.folder / row["image"]).read_bytes() for row in done.of(name)] for name in names}
    for name in names[1:-1]:
        assert all(own != plain for own, plain in zip(pictures[name], pictures["plain"], strict=True))


def test_the_same_command_again_gives_the_same_bytes(done: Done, tmp_path: Path) -> None:
    out = shutil.copytree(done.folder, tmp_path / "out")
    again = CliRunner().invoke(main, [*done.every, "--outdir", str(out)])
    assert again.exit_code == 0, again.output
    for name in ("results.parquet", "report.html"):
        assert (out / name).read_bytes() == (done.folder / name).read_bytes()
