"""Does a taste survive as a LoRA, a token, words, the best of several? Counted on the tiny models.

What is learnt and drawn is kept in `runs/benchmarks/travel`: a run that is interrupted goes on from there.
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._plots import plot
from benchmarks._travel_drawn import FIRST_SEED, SAMPLED, SEEDS, Drawn, Seen
from benchmarks._travel_world import captions, judged, own_tint, prepare
from benchmarks.steering import GUIDANCE
from visunex.base.files import write_json
from visunex.clip import load_text_encoder
from visunex.demo.judge import Judge
from visunex.demo.tiny import TINY_MODEL
from visunex.export import encoder, kohya, tokens, word_search
from visunex.export.make import Wanted, make
from visunex.generate import Taste
from visunex.generate.best_of import nearest_of
from visunex.pipeline.reduce.nearest_words import word_vectors

FOLDER = Path(__file__).parents[1] / "runs" / "benchmarks" / "travel"
TASTES = ("flowers", "night", "tint")
STEPS, WORDS, VECTORS = 20, 3, 2  # of steering, which every kind is to equal; of words; of a token
BEST_OF = (2, 4, 8)
ABOUT = (
    "In brackets the middle 95 % when prompts are drawn again. Flowers are told by the share of "
    "flower-coloured pixels, and the tint (a green glass before every picture) by how much greener a picture "
    "is than the prompt's plain ones, at least half of what the tint does; neither knows of CLIP. Night and "
    "the subject are told by visunex-tiny. Files are made by `visunex-export`; seconds are of one processor."
)

Conditioning = Callable[[str], Tensor]  # a prompt -> [1, L, D]


@dataclass(frozen=True)
class Row:
    """A kind, what its pictures show by prompt and seed, and the seconds of a processor that it took once."""

    name: str
    seen: Sequence[Sequence[Seen]]
    cost: float | None = None


class Study:
    """One taste under every kind of conditioning."""

    def __init__(self, name: str, drawn: Drawn) -> None:
        self.name, self.drawn = name, drawn
        self.taste = Taste.load(FOLDER / f"{name}.pt")
        (self.side,) = encoder.load(TINY_MODEL, self.taste, device="cpu")
        self.prompts = judged()

    def seen(self, conditioning: Conditioning, lots: int = 1) -> list[list[Seen]]:
        """What the pictures of each prompt show, `lots` times SEEDS of them."""
        found = []
        for prompt in self.prompts:
            states = conditioning(prompt.text)
            found.append([seen for lot in range(lots) for seen in self.drawn.of(states, lot)])
        return found

    def row(self, name: str, conditioning: Conditioning, cost: float | None = None) -> Row:
        """A row of the table."""
        return Row(name, self.seen(conditioning), cost)

    def plain(self, prompt: str) -> Tensor:
        """The model's own conditioning."""
        with torch.no_grad():
            return self.side.states(self.side.rows([self.side.words(prompt)])).hidden

    def steered(self, steps: int) -> Conditioning:
        """Steering itself, prompt by prompt."""
        side = self.side
        return lambda prompt: side.steered(side.rows([side.words(prompt)]).ids, steps).hidden

    def made(self, name: str, **asked: Any) -> tuple[Path, dict[str, Any], float]:
        """The file that the command makes, what it says, and what making it cost."""
        began = time.process_time()
        given: dict[str, Any] = {"model": TINY_MODEL, "device": "cpu", "prompts": FOLDER / "prompts.txt"}
        out = FOLDER / f"{self.name}-{name}"
        said = make(Wanted(embedding=str(FOLDER / f"{self.name}.pt"), out=out, **given, **asked))
        took, costs = time.process_time() - began, FOLDER / "costs.json"
        kept = json.loads(costs.read_text(encoding="utf-8")) if costs.exists() else {}
        kept.setdefault(said["sha256"], took)
        write_json(costs, kept)
        return Path(said["file"]), said, kept[said["sha256"]]

    def lora(self, objective: str) -> tuple[kohya.Lora, float]:
        """A LoRA that stands for STEPS, read from its file."""
        file, _, cost = self.made(objective, kind="lora", **{objective: STEPS})
        return kohya.read(file, self.side.encoder), cost

    def with_loras(self, *loras: tuple[kohya.Lora, float]) -> Conditioning:
        """LoRAs at their strengths, the negative prompt left as it is."""

        def conditioning(prompt: str) -> Tensor:
            with ExitStack() as stack:
                for each, strength in loras:
                    stack.enter_context(each.on(self.side.encoder, strength))
                return self.plain(prompt)

        return conditioning

    def token(self) -> tuple[Conditioning, dict[str, Any], float]:
        """A token behind the prompt."""
        from safetensors.torch import load_file

        file, said, cost = self.made("token", kind="token", imitate=STEPS, vectors=VECTORS)
        vectors = load_file(file)[file.stem]
        return (
            lambda prompt: tokens.states(self.side, vectors, (prompt,))[0].hidden,
            said["report"],
            cost,
        )

    def words(self, way: str) -> tuple[str, float]:
        """The best words of one way."""
        given = {"most": WORDS, "way": way, "captions": (str(FOLDER / "captions.txt"),)}
        _, said, cost = self.made(f"words-{way}", kind="prompt", **given)
        return said["report"]["best"][0]["words"], cost

    def nearest_words(self) -> str:
        """The words nearest the embedding, as a run's report names them."""
        vectors = word_vectors(captions(), load_text_encoder(TINY_MODEL, device="cpu"))
        assert vectors is not None
        return ", ".join(each.word for each in vectors.nearest(self.taste.embedding.numpy(), WORDS))

    def behind(self, words: str) -> Conditioning:
        """The prompt with words behind it."""
        return lambda prompt: self.plain(word_search.joined(prompt, words))

    def best_of(self, seen: Sequence[Sequence[Seen]], count: int) -> list[list[Seen]]:
        """Of each `count` pictures that follow one another the nearest."""
        return [
            [each for chosen in nearest_of([group], self._cosines, count) for each, _ in chosen]
            for group in seen
        ]

    def _cosines(self, group: Sequence[Seen]) -> list[float]:
        return [each.cosines[self.name] for each in group]


def kinds(study: Study) -> tuple[list[Row], kohya.Lora, str]:
    """Every kind of one taste; the LoRA that imitates; a sentence on the token."""
    rows = [study.row("plain", study.plain)]
    rows += [study.row(f"steered, {steps} steps", study.steered(steps)) for steps in (10, STEPS)]
    imitating, cost = study.lora("imitate")
    rows.append(study.row(f"LoRA that imitates {STEPS}", study.with_loras((imitating, 1.0)), cost))
    by_cosine, cost = study.lora("cosine")
    rows.append(study.row("LoRA by the cosine", study.with_loras((by_cosine, 1.0)), cost))
    token, report, cost = study.token()
    rows.append(study.row(f"token of {VECTORS} vectors", token, cost))
    found = []
    for way, what in (("search", "words by search"), ("gradients", "hard prompt, by gradients")):
        words, cost = study.words(way)
        found.append(words)
        rows.append(study.row(f"{what}: *{words}*", study.behind(words), cost))
    words = study.nearest_words()
    rows.append(study.row(f"nearest words: *{words}*", study.behind(words)))
    ten = rows[1].seen
    rows += [Row(f"steered, 10 steps, best of {count}", study.best_of(ten, count)) for count in BEST_OF]
    return rows, imitating, sentence(report, found)


def sentence(report: dict[str, Any], found: Sequence[str]) -> str:
    """How near a token's vectors lie to real tokens, and whether these are among the words found."""
    names = [name.removesuffix("</w>") for name in report["nearest_tokens"]]
    words = {word for text in found for word in text.replace(",", " ").split()}
    near = ", ".join(
        f"*{name}* ({cosine:.2f}{', one of the words' if name in words else ''})"
        for name, cosine in zip(names, report["cosine_to_nearest"], strict=True)
    )
    return f"The token's vectors and the real tokens nearest to them, by cosine: {near}."


def share(hits: np.ndarray) -> str:
    """A share of pictures `[prompts, seeds]`, and where 95 % of it lie when the prompts are drawn again."""
    by_prompt = hits.astype(float).mean(axis=1)
    drawn = np.random.default_rng(0).integers(0, len(by_prompt), (4000, len(by_prompt)))
    low, high = np.quantile(by_prompt[drawn].mean(axis=1), [0.025, 0.975])
    return f"{by_prompt.mean():.0%} ({low:.0%} to {high:.0%})"


def shown(taste: str, row: Row, first: Row) -> np.ndarray:
    """Whether each picture shows the taste, `[prompts, seeds]`; `first` are the plain ones."""
    if taste != "tint":
        return np.array(
            [
                [each.flowers if taste == "flowers" else each.palette == "night" for each in group]
                for group in row.seen
            ]
        )
    return shifts(row, first) >= 0.5


def shifts(row: Row, first: Row) -> np.ndarray:
    """How much greener than the prompt's plain pictures each is, in shares of what the tint does."""
    before = np.array([[each.green for each in group] for group in first.seen]).mean(axis=1, keepdims=True)
    return (np.array([[each.green for each in group] for group in row.seen]) - before) / own_tint()


def kept(row: Row) -> np.ndarray:
    """Whether each picture has its prompt's subject, `[prompts, seeds]`."""
    return np.array(
        [
            [each.subject == prompt.subject for each in group]
            for prompt, group in zip(judged(), row.seen, strict=True)
        ]
    )


def table(taste: str, rows: Sequence[Row]) -> dict[str, str]:
    """Print the table of one taste; the shares with it, by kind."""
    tint = taste == "tint"
    print(f"\n| {taste} | with it |{' tint, mean |' if tint else ''} subject kept | made in, s |")
    print(f"|---|---|{'---|' if tint else ''}---|---|")
    shares = {}
    for row in rows:
        hits = shown(taste, row, rows[0])
        mean = f" {shifts(row, rows[0]).mean():.0%} |" if tint else ""
        cost = "" if row.cost is None else f"{row.cost:.0f}"
        print(f"| {row.name} | {share(hits)} |{mean} {share(kept(row))} | {cost} |", flush=True)
        shares[row.name.partition(":")[0]] = f"{hits.mean():.0%}"
    return shares


def main() -> None:
    """Print the section."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    judge = Judge()
    prepare(FOLDER, judge, TASTES)
    tastes = {name: Taste.load(FOLDER / f"{name}.pt").embedding for name in TASTES}
    drawn = Drawn(FOLDER / "drawn.jsonl", judge, tastes)
    studies = {name: Study(name, drawn) for name in TASTES}
    found = {name: kinds(study) for name, study in studies.items()}
    both = studies["night"].with_loras((found["flowers"][1], 0.5), (found["night"][1], 0.5))
    stacked = studies["night"].row("flowers and night, each at 0.5", both)
    of_plain = studies["flowers"].seen(studies["flowers"].plain, lots=max(BEST_OF))
    print("## Travel: a taste as a LoRA, a token, words, the best of several\n")
    print(
        f"`{TINY_MODEL}`, {len(judged())} prompts that nothing was learnt on and none of which names a "
        f"taste, {SEEDS} seeds each ({FIRST_SEED} and on) that nothing was tuned on; DDIM {SAMPLED} steps, "
        f"guidance {GUIDANCE:g}. {ABOUT} All pictures together took {drawn.seconds:.0f} s."
    )
    for name, (rows, _, said) in found.items():
        nearest = Row("plain, best of 8", studies[name].best_of(of_plain, max(BEST_OF)))
        shares = table(name, [*rows, nearest])
        print(f"\n{said}\n")
        print(plot(f"Pictures with {name}", shares))
    print("\n| two LoRAs | flowers | night | subject kept |\n|---|---|---|---|")
    hits = [share(shown(name, stacked, stacked)) for name in ("flowers", "night")]
    print(f"| {stacked.name} | {' | '.join(hits)} | {share(kept(stacked))} |")


if __name__ == "__main__":
    main()
