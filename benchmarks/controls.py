"""Do the controls of a taste do what they say? Told by colours, on the tiny model of the demo world."""

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks._travel_world import prepare
from benchmarks.steering import GUIDANCE
from visunex.demo.colours import darkness, flower_share, flowers
from visunex.demo.judge import Judge
from visunex.demo.tiny import TINY_MODEL
from visunex.generate import Controls, Sampler, Settings, Steering, Taste

PROMPTS = ("a castle by day", "a ship at sunset", "a lighthouse in winter", "a house by day")
NAMING = {"flowers": ("a castle by day with flowers", "a house by day with flowers"),
          "night": ("a castle at night", "a ship at night")}  # fmt: skip
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
STEPS, SEEDS = 20, 16
SETTINGS = Settings(samples=SEEDS, steps=12, guidance_scale=GUIDANCE, seed=9000)
UNTIL = ("+0.05", "+0.1", "+0.2", "+0.9")


class Study:
    """One model, two tastes, and what pictures of prompts show under a steering."""

    def __init__(self, folder: Path) -> None:
        prepare(folder, Judge(), ("flowers", "night"))
        self.sampler = Sampler.load(TINY_MODEL, device="cpu")
        self.tastes = {name: Taste.load(folder / f"{name}.pt", steps=STEPS) for name in ("flowers", "night")}

    def steering(self, weights: dict[str, float], **controls: Any) -> Steering:
        """Tastes by name, each with its weight."""
        pairs = tuple((self.tastes[name], weight) for name, weight in weights.items())
        return Steering(pairs, Controls(**controls))

    def images(self, steering: Steering | None, prompts: Sequence[str] = PROMPTS) -> list[Image.Image]:
        """SEEDS pictures of each prompt, over the same noise for every steering."""
        return [
            image
            for prompt in prompts
            for batch in self.sampler.sample(prompt, SETTINGS, steering)
            for image in batch.images
        ]


def same(one: Sequence[Image.Image], other: Sequence[Image.Image]) -> bool:
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True))


def spearman(values: Sequence[float]) -> float:
    """The rank correlation of values with their order (1 for rising ones)."""
    ranks = np.argsort(np.argsort(values))
    return float(np.corrcoef(np.arange(len(values)), ranks)[0, 1])


def shown(images: Sequence[Image.Image]) -> tuple[float, float, float]:
    """Of pictures: the share that shows flowers, the mean share of flower-coloured pixels, and how dark."""
    own = [""] * len(images)
    share = statistics.mean(map(flower_share, images))
    return statistics.mean(flowers(images, own)), share, statistics.mean(darkness(images, own))


def weights(study: Study, plain: Sequence[Image.Image]) -> None:
    rows = []
    print("| `--aesthetic_weight` | pictures with flowers | pixels of their colours |\n|---:|---:|---:|")
    for weight in WEIGHTS:
        images = study.images(study.steering({"flowers": 1.0}, blend=weight))
        seen = shown(images)
        rows.append(seen[1])
        print(f"| {weight:g} | {seen[0]:.0%} | {seen[1]:.2%} |")
        if weight == 0 and not same(images, plain):
            raise AssertionError("weight 0 steers")
    print(f"\nWeight 0 is the plain picture, bit for bit. Spearman's correlation of weight and share of "
          f"pixels: {spearman(rows):.2f}.\n")  # fmt: skip


def several(study: Study, plain: Sequence[Image.Image]) -> None:
    print("| tastes | pictures with flowers | darkness |\n|---|---:|---:|")
    named = {
        "none": None,
        "flowers": {"flowers": 1.0},
        "night": {"night": 1.0},
        "flowers=0.5 night=0.5": {"flowers": 0.5, "night": 0.5},
        "flowers=0.5 night=-0.5": {"flowers": 0.5, "night": -0.5},
    }
    for name, given in named.items():
        seen = shown(plain if given is None else study.images(study.steering(given)))
        print(f"| {name} | {seen[0]:.0%} | {seen[2]:.3f} |")
    print("\n| away from | prompts that name it | plain | steered |\n|---|---|---:|---:|")
    for name, place, unit in (("flowers", 0, "with flowers"), ("night", 2, "darkness")):
        prompts = NAMING[name]
        before = shown(study.images(None, prompts))[place]
        after = shown(study.images(study.steering({name: -1.0}), prompts))[place]
        print(f"| {name}=-1 | {', '.join(prompts)} ({unit}) | {before:.3f} | {after:.3f} |")
    print()


def parts(study: Study, plain: Sequence[Image.Image]) -> None:
    print("| `--aesthetic_from` | `--aesthetic_to` | pictures with flowers | change of a pixel's value |")
    print("|---:|---:|---:|---:|")
    for begin, end in ((0, 0), (0, 0.5), (0.25, 1), (0.5, 1), (0, 1)):
        images = study.images(study.steering({"flowers": 1.0}, begin=begin, end=end))
        apart = [
            np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()
            for a, b in zip(images, plain, strict=True)
        ]
        print(f"| {begin:g} | {end:g} | {shown(images)[0]:.0%} | {statistics.mean(apart):.1f} |")
        if end == 0 and not same(images, plain):
            raise AssertionError("from 0 to 0 steers")
    print("\nFrom 0 to 0 is the plain picture, bit for bit. Pixels are counted from 0 to 255.\n")


def until(study: Study) -> None:
    print("| `--aesthetic_until` | steps, by prompt | cosine before and after, in the mean |\n|---:|---|---|")
    for goal in UNTIL:
        climbs = [
            study.sampler.conditioner.prompt(prompt, study.steering({"flowers": 1.0}, until=goal)).climbs[0][
                0
            ]
            for prompt in PROMPTS
        ]
        steps = ", ".join(str(climb.steps) for climb in climbs)
        first, last = (
            statistics.mean(getattr(climb, name) for climb in climbs) for name in ("first", "last")
        )
        print(f"| {goal} | {steps} | {first:.3f} to {last:.3f} |")


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder))
        plain = study.images(None)
        print("## Controls: what weights, several tastes and parts of the sampling do\n")
        print(f"visunex-tiny, {len(PROMPTS)} prompts without flowers and night, {SEEDS} seeds each, "
              f"{STEPS} aesthetic steps. Flowers and darkness are told by colours alone.\n")  # fmt: skip
        weights(study, plain)
        several(study, plain)
        parts(study, plain)
        until(study)
    print(f"\n{time.process_time() - began:.0f} s of a processor")


if __name__ == "__main__":
    main()
