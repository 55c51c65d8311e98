"""What learning a LoRA and learning a token share: states to imitate, and steps that can be gone on from."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, pi
from typing import Any

import torch
from torch import Tensor

from visunex.base.progress import Progress

from .encoder import Rows, States, TextSide
from .errors import ExportError
from .output import Output, Unfinished
from .prompt_set import PromptSet

__all__ = [
    "Aims",
    "Lesson",
    "aims_of",
    "all_states",
    "batch_of",
    "descend",
    "judgement",
    "report_on",
    "sentences_on",
]

KEPT_EVERY = 20.0  # seconds between two savings of what is not finished
BATCH = 4


@dataclass(frozen=True)
class Lesson:
    """Prompts, what the plain encoder makes of them, and what the steered one did.

    `pools` says that the feature conditions as well as the hidden states.
    """

    texts: tuple[str, ...]
    rows: Rows
    plain: States
    steered: States
    pools: bool = False

    @cached_property
    def moved(self) -> tuple[float, float]:
        """The mean squared ways between plain and steered states, and features: the units of errors."""
        return _squares(self.steered.hidden, self.plain.hidden), _squares(
            self.steered.pooled, self.plain.pooled
        )

    def beyond(self, share: float) -> "Lesson":
        """The same where steering went further, by a share of its own way."""
        before, after = vars(self.plain), vars(self.steered)
        return replace(self, steered=States(**{n: torch.lerp(before[n], after[n], 1 + share) for n in after}))

    def error(self, states: States, places: Any = slice(None)) -> Tensor:
        """The squared error to the steered states, in shares of steering's own way: 0 equal, 1 as plain.

        The mean of that of hidden states and that of features, where both condition.
        """
        wanted = self.steered[places]
        hidden = (states.hidden - wanted.hidden).square().mean() / self.moved[0]
        if not self.pools:
            return hidden
        return (hidden + (states.pooled - wanted.pooled).square().mean() / self.moved[1]) / 2


@dataclass(frozen=True)
class Aims:
    """The lessons of a prompt set: to learn from, to choose the strength by, to judge what came out."""

    train: Lesson
    choose: Lesson
    judge: Lesson


def aims_of(side: TextSide, steps: int, prompts: PromptSet, output: Output) -> Aims:
    """Steer every prompt `steps` steps, each by itself, or take what an earlier start of it has."""
    texts = [*prompts.train, *prompts.choose, *prompts.judge]
    rows = side.rows([side.words(text) for text in texts])
    states, plain = _steered(side, rows, steps, output), all_states(side, rows)
    ends = len(prompts.train), len(prompts.train) + len(prompts.choose)
    train, choose, judge = slice(0, ends[0]), slice(*ends), slice(ends[1], None)
    return Aims(
        *(
            Lesson(tuple(texts[part]), rows[part], plain[part], states[part], side.pools)
            for part in (train, choose, judge)
        )
    )


def _steered(side: TextSide, rows: Rows, steps: int, output: Output) -> States:
    """The steered states of all rows; those of an earlier start are not computed again."""
    kept, texts = output.unfinished("steered", side.part), range(len(rows.ids))
    done = kept.load()
    found = {
        place: States(done[f"hidden.{place}"], done[f"pooled.{place}"])
        for place in texts
        if f"pooled.{place}" in done
    }

    def keep() -> None:
        kept.save(
            {f"{part}.{place}": value for place, each in found.items() for part, value in vars(each).items()}
        )

    before, saved = len(found), time.monotonic()
    with Progress("Steering", len(texts) - before, "prompts") as progress:
        for place in texts:
            if place not in found:
                found[place] = side.steered(rows.ids[place : place + 1], steps)
                progress.advance()
                if time.monotonic() - saved > KEPT_EVERY:
                    keep()
                    saved = time.monotonic()
    if before < len(texts):
        keep()
    whole = States.of([found[place] for place in texts])
    return States(whole.hidden.to(side.device), whole.pooled.to(side.device))


@torch.no_grad()
def all_states(side: TextSide, rows: Rows) -> States:
    """What the encoder makes of all rows, a few at a time."""
    return States.of([side.states(rows[at : at + 16]) for at in range(0, len(rows.ids), 16)])


def _squares(first: Tensor, second: Tensor) -> float:
    return float((first - second).square().mean())


@torch.no_grad()
def judgement(side: TextSide, found: States, lesson: Lesson, error: float) -> dict[str, Any]:
    """How near the states `found` come to the steps, on prompts that were not learnt on."""
    features, aimed = side.features(found), side.features(lesson.steered)
    return {
        "prompts": len(lesson.texts),
        "cosine_plain": side.cosine(lesson.plain),
        "cosine_steered": side.cosine(lesson.steered),
        "cosine": side.cosine(found),
        "error": error,
        "cosine_to_steered": float((features * aimed).sum(dim=-1).mean()),
    }


def sentences_on(judged: Mapping[str, Any]) -> list[str]:
    """A judgement for a person."""
    return [
        f"on {judged['prompts']} prompts that it has not seen: cosine to the taste {judged['cosine']:.3f}, "
        f"steered {judged['cosine_steered']:.3f}, plain {judged['cosine_plain']:.3f}",
        f"what conditions leaves {judged['error']:.0%} of steering's way undone (mean squares); its text "
        f"features have a cosine of {judged['cosine_to_steered']:.3f} to the steered ones",
    ]


def report_on(
    judged: Mapping[str, Mapping[str, Any]],
    sentences: Callable[[Mapping[str, Any]], list[str]],
    first: Sequence[str],
    last: Sequence[str] = (),
) -> dict[str, Any]:
    """The report on what was learnt: judgements by text encoder, or the only one, and sentences on all."""
    several = len(judged) > 1
    said = [line for part, each in judged.items() for line in ([f"{part}:"] * several + sentences(each))]
    report = judged if several else next(iter(judged.values()))
    return {**report, "said": [*first, *said, *last]}


def batch_of(step: int, count: int, seed: int, size: int = BATCH) -> Tensor:
    """The places of the examples of one step: every example once in each round, in an order of its own."""
    size = min(size, count)
    rounds, per_round = divmod(step, count // size)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 100_003 + rounds))
    return order[per_round * size : (per_round + 1) * size]


def descend(
    parameters: Mapping[str, Tensor],
    loss_of: Callable[[int], Tensor],
    *,
    steps: int,
    lr: float,
    kept: Unfinished,
    after: Callable[[], None] = lambda: None,
    enough: Callable[[int], bool] = lambda _step: False,
    what: str = "Learning",
) -> int:
    """Take Adam's steps down `loss_of(step)`, in place, at a rate that falls to nothing; how many were taken.

    `after` is called after each step, and `enough` says whether to end early. From time to time all is kept:
    a start that was interrupted goes on from there, and ends as if it had not been. Raises ExportError where
    the steps run away to values that are not numbers.
    """
    adam = torch.optim.Adam(list(parameters.values()), lr=lr)
    first = _resume(parameters, adam, kept.load())
    saved = time.monotonic()
    with Progress(what, steps, "steps") as progress:
        progress.update(first)
        for step in range(first, steps):
            if enough(step):
                return step
            adam.param_groups[0]["lr"] = lr * (1 + cos(pi * step / steps)) / 2
            adam.zero_grad()
            loss = loss_of(step)
            if not loss.isfinite():
                raise ExportError("learning ran away to values that are not numbers: take a lower --rate")
            loss.backward()
            adam.step()
            after()
            progress.advance(1, f"error {float(loss.detach()):.3f}")
            if time.monotonic() - saved > KEPT_EVERY:
                kept.save(_state(parameters, adam, step + 1))
                saved = time.monotonic()
    return steps


def _state(parameters: Mapping[str, Tensor], adam: torch.optim.Adam, step: int) -> dict[str, Tensor]:
    found = {"step": torch.tensor(step)}
    for name, value in parameters.items():
        found[f"value.{name}"] = value
        for kind in ("exp_avg", "exp_avg_sq"):
            found[f"{kind}.{name}"] = adam.state[value][kind]
    return found


def _resume(parameters: Mapping[str, Tensor], adam: torch.optim.Adam, kept: Mapping[str, Tensor]) -> int:
    """Put back what is kept; how many steps that was."""
    if not kept:
        return 0
    step = int(kept["step"])
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(kept[f"value.{name}"])
            moments = {kind: kept[f"{kind}.{name}"].to(value) for kind in ("exp_avg", "exp_avg_sq")}
            adam.state[value] = {"step": torch.tensor(float(step)), **moments}
    return step
