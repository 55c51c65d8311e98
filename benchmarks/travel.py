"""Does a taste survive as a LoRA, a token, words, the best of several? Counted on the tiny models.

What is learnt and drawn is kept in `runs/benchmarks/travel`: a run that is interrupted goes on from there.
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
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
from visunex.export import encoder, word_search
from visunex.export.make import Wanted, make
from visunex.generate import Sampler, Taste
from visunex.generate.additions import Additions, added
from visunex.generate.best_of import nearest_of
from visunex.generate.families.model import Model
from visunex.generate.steering.steer import conditioning
from visunex.pipeline.reduce.nearest_words import word_vectors

FOLDER = Path(__file__).parents[1] / "runs" / "benchmarks" / "travel"
TASTES = ("flowers", "night", "tint")
STACKED = ("flowers", "night")
STEPS, WORDS = 20, 3  # of steering, which every kind is to equal; of words
BEST_OF = (2, 4, SEEDS)
LEAST_EFFECT = 0.5  # of the pictures show the taste, where it is told what of it is kept
ABOUT = (
    "In brackets the middle 95 % when prompts are drawn again. Flowers are told by the share of "
    "flower-coloured pixels, and the tint (a green glass before every picture) by how much greener a picture "
    "is than the prompt's plain ones, at least half of what the tint does; neither knows of CLIP. Night and "
    "the subject are told by visunex-tiny. Files are made by `visunex-export` and read as `visunex-generate` "
    "does, LoRAs on the prompt alone. The best of several is chosen among each prompt's own "
    f"{SEEDS} pictures. Seconds are of one processor."
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

    def __init__(self, name: str, drawn: Drawn, model: Model) -> None:
        self.name, self.drawn, self.model = name, drawn, model
        self.taste = Taste.load(FOLDER / f"{name}.pt")
        (self.side,) = encoder.load(TINY_MODEL, self.taste, device="cpu")
        self.prompts = judged()

    def row(self, name: str, conditioning: Conditioning, cost: float | None = None) -> Row:
        """A row of the table."""
        seen = [self.drawn.of(conditioning(prompt.text)) for prompt in self.prompts]
        return Row(name, seen, cost)

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
        took, costs = time.process_time() - began, FOLDER / f"{out.name}.cost.json"
        kept = json.loads(costs.read_text(encoding="utf-8")) if costs.exists() else {}
        kept.setdefault(said["sha256"], took)
        write_json(costs, kept)
        return Path(said["file"]), said["report"], kept[said["sha256"]]

    def behind(self, words: str) -> Conditioning:
        """The prompt with words behind it."""
        plain = conditioned(self.model)
        return lambda prompt: plain(word_search.joined(prompt, words))

    def words(self, way: str) -> tuple[str, float]:
        """The best words of one way."""
        given = {"most": WORDS, "way": way, "captions": (str(FOLDER / "captions.txt"),)}
        _, report, cost = self.made(f"words-{way}", kind="prompt", **given)
        return report["best"][0]["words"], cost

    def nearest_words(self) -> str:
        """The words nearest the embedding, as a run's report names them."""
        vectors = word_vectors(captions(), load_text_encoder(TINY_MODEL, device="cpu"))
        assert vectors is not None
        return ", ".join(each.word for each in vectors.nearest(self.taste.embedding.numpy(), WORDS))

    def best_of(self, seen: Sequence[Sequence[Seen]], count: int) -> list[list[Seen]]:
        """Of each `count` pictures that follow one another the nearest."""
        return [
            [each for chosen in nearest_of([group], self._cosines, count) for each, _ in chosen]
            for group in seen
        ]

    def _cosines(self, group: Sequence[Seen]) -> list[float]:
        return [each.cosines[self.name] for each in group]


def conditioned(model: Model, word: str = "") -> Conditioning:
    """What a model itself makes of prompts, with a word behind each."""
    ((tokenizer, text_encoder),) = model.readers
    padded = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}

    def of(prompt: str) -> Tensor:
        return conditioning(text_encoder, tokenizer(f"{prompt} {word}".strip(), **padded).input_ids)

    return of


def with_loras(model: Model, *loras: str) -> Conditioning:
    """With LoRAs, each FILE:STRENGTH, the negative prompt left as it is."""
    return conditioned(added(model, Additions.of(loras=loras)))


def learnt(study: Study) -> tuple[list[Row], Path, dict[str, Any]]:
    """The rows of LoRAs and a token; the file of the LoRA that imitates; the report on the token."""
    rows, files = [], []
    for objective, what in (("imitate", f"LoRA that imitates {STEPS}"), ("cosine", "LoRA by the cosine")):
        file, _, cost = study.made(objective, kind="lora", **{objective: STEPS})
        files.append(file)
        rows.append(study.row(what, with_loras(study.model, f"{file}:1"), cost))
    file, report, cost = study.made("token", kind="token", imitate=STEPS)
    with_word = conditioned(added(study.model, Additions.of(textual_inversions=[file])), file.stem)
    rows.append(study.row(f"token of {len(report['nearest_tokens'])} vectors", with_word, cost))
    return rows, files[0], report


def worded(study: Study) -> tuple[list[Row], list[str]]:
    """The rows of words behind prompts; the words that were found."""
    rows, found = [], []
    for way, what in (("search", "words by search"), ("gradients", "hard prompt, by gradients")):
        words, cost = study.words(way)
        found.append(words)
        rows.append(study.row(f"{what}: *{words}*", study.behind(words), cost))
    words = study.nearest_words()
    return [*rows, study.row(f"nearest words: *{words}*", study.behind(words))], found


def kinds(study: Study) -> tuple[list[Row], Path, str]:
    """Every kind of one taste; the file of the LoRA that imitates; a sentence on the token."""
    plain = study.row("plain", conditioned(study.model))
    ten, twenty = (study.row(f"steered, {steps} steps", study.steered(steps)) for steps in (10, STEPS))
    of_files, lora, report = learnt(study)
    of_words, found = worded(study)
    best = [Row(f"steered, 10 steps, best of {count}", study.best_of(ten.seen, count)) for count in BEST_OF]
    best.append(Row(f"plain, best of {SEEDS}", study.best_of(plain.seen, SEEDS)))
    rows = [plain, ten, twenty, *of_files, *of_words, *best]
    return rows, lora, sentence(report, found)


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


def against(taste: str, rows: Sequence[Row]) -> str:
    """What of the steps' effect, and of the subjects that they keep, each file or text keeps."""
    steered = next(row for row in rows if row.name == f"steered, {STEPS} steps")
    effect, subjects = shown(taste, steered, rows[0]).mean(), kept(steered).mean()
    if effect < LEAST_EFFECT:
        return (
            f"{STEPS} steps of steering themselves bring it into {effect:.0%} of the pictures, and of all "
            f"{subjects:.0%} keep their subject: what imitates them has nothing to keep."
        )
    parts = (
        f"{row.name.partition(':')[0]} {shown(taste, row, rows[0]).mean() / effect:.0%} "
        f"({kept(row).mean() / subjects:.0%})"
        for row in rows
        if row.name.startswith(("LoRA", "token", "words", "hard", "nearest"))
    )
    return f"Of the effect of {STEPS} steps, and in brackets of their subjects, keep: {', '.join(parts)}."


def main() -> None:
    """Print the section."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    judge = Judge()
    prepare(FOLDER, judge, TASTES)
    tastes = {name: Taste.load(FOLDER / f"{name}.pt").embedding for name in TASTES}
    drawn = Drawn(FOLDER / "drawn.jsonl", judge, tastes)
    model = Sampler.load(TINY_MODEL, device="cpu").model
    found = {name: kinds(Study(name, drawn, model)) for name in TASTES}
    both = [f"{found[name][1]}:0.5" for name in STACKED]
    stacked = Study("night", drawn, model).row(
        " and ".join(STACKED) + ", each at 0.5", with_loras(model, *both)
    )
    print("## Travel: a taste as a LoRA, a token, words, the best of several\n")
    print(
        f"`{TINY_MODEL}`, {len(judged())} prompts that nothing was learnt on and none of which names a "
        f"taste, {SEEDS} seeds each ({FIRST_SEED} and on) that nothing was tuned on; DDIM {SAMPLED} steps, "
        f"guidance {GUIDANCE:g}. {ABOUT} All pictures together took {drawn.seconds:.0f} s."
    )
    for name, (rows, _, said) in found.items():
        shares = table(name, rows)
        print(f"\n{against(name, rows)} {said}\n")
        print(plot(f"Pictures with {name}", shares))
    print(f"\n| two LoRAs | {' | '.join(STACKED)} | subject kept |\n|---|---|---|---|")
    hits = [share(shown(name, stacked, stacked)) for name in STACKED]
    print(f"| {stacked.name} | {' | '.join(hits)} | {share(kept(stacked))} |")


if __name__ == "__main__":
    main()
