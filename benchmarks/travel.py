"""Does a taste survive as a LoRA, a token, words? Flowers and subjects, counted on the tiny models."""

import logging
import random
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks._plots import plot
from benchmarks.steering import GUIDANCE, load
from visunex.demo.captions import caption, label
from visunex.demo.judge import Judge, Verdict
from visunex.demo.scenes import PALETTES, SUBJECTS, Scene, random_scene, render
from visunex.export import encoder, gradient_words, lora, prompt_set, tokens, training, word_search
from visunex.export.kohya import Lora
from visunex.export.output import Output
from visunex.export.prompt_set import PromptSet
from visunex.generate import Taste

STEPS = 20  # of steering, which every kind is to equal
PROMPTS, SEEDS, FIRST_SEED, SAMPLED = 32, 8, 1000, 20
LEARNT_ON = 144

Conditioning = Callable[[str], Tensor]  # a prompt -> [1, L, D]


@dataclass(frozen=True)
class World:
    """A taste, what of a picture shows it, prompts to learn on and others to judge by, of the demo world."""

    taste: Taste
    shows: Callable[[Verdict], bool]
    prompts: PromptSet
    judged: Sequence[str]
    captions: Sequence[str]


def scenes(seed: int, count: int, wanted: Callable[[Scene], bool]) -> list[Scene]:
    """So many scenes for which something holds, drawn by `seed`."""
    rng = random.Random(seed)
    found: list[Scene] = []
    while len(found) < count:
        scene = random_scene(rng)
        found += [scene] if wanted(scene) else []
    return found


def world(judge: Judge, name: str, holds: Callable[[Scene], bool], shows: Callable[[Verdict], bool]) -> World:
    """The taste of pictures of scenes for which `holds`; no prompt to learn on or to judge by names them."""
    liked = judge.images([render(scene) for scene in scenes(17, 150, holds)]).mean(dim=0, keepdim=True)
    plain = [Scene(*each, garden=False, seed=0) for each in product(SUBJECTS, PALETTES)]
    labels = [label(scene) for scene in plain if not scene.has_flowers and not holds(scene)]
    rng = random.Random(5)
    others = scenes(6, 4 * LEARNT_ON, lambda scene: not scene.has_flowers and not holds(scene))
    texts = sorted({caption(scene, rng) for scene in others} - set(labels))[:LEARNT_ON]
    judged = random.Random(2).sample(labels, min(PROMPTS, len(labels)))
    captions = [caption(scene, rng) for scene in scenes(7, 400, lambda _: True)]
    return World(Taste(name, liked), shows, prompt_set.split(texts, 0), judged, captions)


class Study:
    """Pictures of a world's prompts under every kind of conditioning, counted."""

    def __init__(self, judge: Judge, of: World, folder: Path) -> None:
        self.judge, self.world, self.folder = judge, of, folder
        self.pipeline = load()
        self.side = encoder.load("visunex-tiny", of.taste, device="cpu")
        output = Output(folder / "steered.safetensors", {"taste": of.taste.name})
        self.aims = training.aims_of(self.side, of.taste, STEPS, of.prompts, output)
        self.rows: list[tuple[str, np.ndarray]] = []

    def plain(self, prompt: str) -> Tensor:
        """The model's own conditioning."""
        with torch.no_grad():
            return self.side.hidden(self.side.rows([self.side.words(prompt)]))

    def steered(self, steps: int) -> Conditioning:
        """Steering itself, prompt by prompt."""
        rows = {prompt: self.side.rows([self.side.words(prompt)]) for prompt in self.world.judged}
        return lambda prompt: self.side.steered(rows[prompt].ids, self.world.taste, steps)

    def learnt(self, objective: str) -> Lora:
        """A LoRA at the strength that is chosen for it."""
        aim = lora.Aim(objective, STEPS)
        output = Output(self.folder / f"{objective}.safetensors", {"taste": self.world.taste.name})
        made = lora.learn(self.side, self.world.taste, aim, self.aims, output, 0)
        return made.times(lora.chosen(self.side, self.world.taste, aim, made, self.aims.choose))

    def with_loras(self, *loras: tuple[Lora, float]) -> Conditioning:
        """LoRAs at their strengths, the negative prompt left as it is."""

        def conditioning(prompt: str) -> Tensor:
            with ExitStack() as stack:
                for each, strength in loras:
                    stack.enter_context(each.on(self.side.encoder, strength))
                return self.plain(prompt)

        return conditioning

    def token(self) -> Conditioning:
        """A token behind the prompt."""
        output = Output(self.folder / "token.pt", {"taste": self.world.taste.name})
        vectors = tokens.learn(self.side, tokens.TokenAim(STEPS), self.aims, output, 0)
        return lambda prompt: tokens.states(self.side, vectors, (prompt,))[0]

    def words(self, way: str) -> tuple[str, Conditioning]:
        """The best words of one way, and the prompt with them behind it."""
        scores = word_search.Scores(self.side, self.world.taste, self.world.prompts)
        if way == "search":
            file = self.folder / "captions.txt"
            file.write_text("\n".join(self.world.captions), encoding="utf-8")
            texts = word_search.search(scores, word_search.phrases_of([file]), 3)
        else:
            given = (self.side, self.world.taste, self.world.prompts)
            texts = gradient_words.found(*given, 3, 0, lambda _: True)
        best = scores.best(dict.fromkeys(texts, way), 1)[0].words
        return best, lambda prompt: self.plain(word_search.joined(prompt, best))

    def verdicts(self, conditioning: Conditioning) -> list[list[Verdict]]:
        """What the pictures of each prompt show."""
        found = []
        for prompt in self.world.judged:
            images = self.pipeline(
                prompt_embeds=conditioning(prompt),
                negative_prompt="",
                num_images_per_prompt=SEEDS,
                num_inference_steps=SAMPLED,
                guidance_scale=GUIDANCE,
                height=64,
                width=64,
                generator=[torch.Generator().manual_seed(FIRST_SEED + seed) for seed in range(SEEDS)],
            ).images
            found.append(self.judge.verdicts(images))
        return found

    def row(
        self, name: str, conditioning: Conditioning, also: Callable[[Verdict], bool] | None = None
    ) -> float:
        """Print a row: shares of pictures with 95 % intervals. Returns the share that shows the taste."""
        found = self.verdicts(conditioning)
        wanted = [prompt.split()[1] for prompt in self.world.judged]
        shown = np.array([[self.world.shows(each) for each in group] for group in found])
        kept = np.array(
            [
                [each.subject == subject for each in group]
                for group, subject in zip(found, wanted, strict=True)
            ]
        )
        cells = [share(shown), share(kept)]
        if also is not None:
            cells.insert(1, share(np.array([[also(each) for each in group] for group in found])))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        return float(shown.mean())


def share(hits: np.ndarray) -> str:
    """A share of pictures `[prompts, seeds]`, and where 95 % of it lie when the prompts are drawn again."""
    by_prompt = hits.mean(axis=1)
    drawn = np.random.default_rng(0).integers(0, len(by_prompt), (4000, len(by_prompt)))
    low, high = np.quantile(by_prompt[drawn].mean(axis=1), [0.025, 0.975])
    return f"{by_prompt.mean():.0%} ({low:.0%} to {high:.0%})"


def kinds(study: Study, what: str) -> tuple[dict[str, str], Lora]:
    """The table of one taste; the shares by kind, and the LoRA that imitates."""
    print(f"\n| {what} | with it | subject kept |\n|---|---|---|")
    shares = {"plain": study.row("plain", study.plain)}
    for steps in (10, STEPS):
        shares[f"steered, {steps} steps"] = study.row(f"steered, {steps} steps", study.steered(steps))
    imitating = study.learnt("imitate")
    shares["LoRA, imitate"] = study.row(f"LoRA that imitates {STEPS}", study.with_loras((imitating, 1.0)))
    cosine = study.learnt("cosine")
    shares["LoRA, cosine"] = study.row("LoRA by the cosine", study.with_loras((cosine, 1.0)))
    shares["token"] = study.row("token of 2 vectors", study.token())
    for way in ("search", "gradients"):
        words, conditioning = study.words(way)
        shares[f"words, {way}"] = study.row(f"words by {way}: *{words}*", conditioning)
    return {name: f"{value:.0%}" for name, value in shares.items()}, imitating


def main() -> None:
    """Print the section."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    judge = Judge()
    flowers = world(judge, "flowers", lambda scene: scene.has_flowers, lambda verdict: verdict.flowers)
    night = world(
        judge, "night", lambda scene: scene.palette == "night", lambda verdict: verdict.palette == "night"
    )
    print("## Travel: a taste as a LoRA, a token, words\n")
    print(
        f"`visunex-tiny`, {PROMPTS} prompts that nothing was learnt on and none of which names the taste, "
        f"{SEEDS} seeds each that nothing was tuned on; DDIM {SAMPLED} steps, guidance {GUIDANCE:g}. In "
        "brackets the middle 95 % when prompts are drawn again. Flowers are told by the share of "
        "flower-coloured pixels, which knows nothing of CLIP; night and the subject by visunex-tiny."
    )
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        study = Study(judge, flowers, Path(first))
        shares, of_flowers = kinds(study, "flowers")
        print(plot("Pictures with flowers", shares))
        others = Study(judge, night, Path(second))
        _, of_night = kinds(others, "night")
        print("\n| two LoRAs | night | flowers | subject kept |\n|---|---|---|---|")
        both = others.with_loras((of_flowers, 0.5), (of_night, 0.5))
        others.row("flowers and night, each at 0.5", both, flowers.shows)


if __name__ == "__main__":
    main()
