"""What learning a LoRA and learning a token share: states to imitate, and steps that can be gone on from."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor

from visunex.base.progress import Progress
from visunex.generate import Taste

from .encoder import Rows, TextSide
from .errors import ExportError
from .output import Output
from .prompt_set import PromptSet

__all__ = ["Aims", "Lesson", "aims_of", "batch_of", "descend", "direction", "mean_cosine"]

KEPT_EVERY = 20.0  # seconds between two savings of what is not finished
BATCH = 4


@dataclass(frozen=True)
class Lesson:
    """Prompts, what the plain encoder makes of them, and what the steered one did: both `[N, L, D]`."""

    texts: tuple[str, ...]
    rows: Rows
    plain: Tensor
    steered: Tensor

    @property
    def moved(self) -> float:
        """The mean squared way between plain and steered states: the unit that errors are given in."""
        return float((self.steered - self.plain).square().mean())


@dataclass(frozen=True)
class Aims:
    """The lessons of a prompt set: to learn from, to choose the strength by, to judge what came out."""

    train: Lesson
    choose: Lesson
    judge: Lesson


def aims_of(side: TextSide, taste: Taste, steps: int, prompts: PromptSet, output: Output) -> Aims:
    """Steer every prompt `steps` steps, each by itself, or take what an earlier start of it has."""
    kept = output.unfinished("steered")
    done = kept.load()
    texts = [*prompts.train, *prompts.choose, *prompts.judge]
    rows = side.rows([side.words(text) for text in texts])
    steered: dict[str, Tensor] = {name: done[name] for name in map(str, range(len(texts))) if name in done}
    saved = time.monotonic()
    with Progress("Steering", len(texts) - len(steered), "prompts") as progress:
        for place in range(len(texts)):
            if str(place) not in steered:
                steered[str(place)] = side.steered(rows.ids[place : place + 1], taste, steps)
                progress.advance()
                if time.monotonic() - saved > KEPT_EVERY:
                    kept.save(steered)
                    saved = time.monotonic()
    if len(done) < len(texts):
        kept.save(steered)
    states = torch.cat([steered[str(place)].to(side.device) for place in range(len(texts))])
    plain = _plain(side, rows)
    ends = len(prompts.train), len(prompts.train) + len(prompts.choose)
    train, choose, judge = slice(0, ends[0]), slice(*ends), slice(ends[1], None)
    return Aims(
        *(
            Lesson(tuple(texts[part]), rows[part], plain[part], states[part])
            for part in (train, choose, judge)
        )
    )


@torch.no_grad()
def _plain(side: TextSide, rows: Rows) -> Tensor:
    return torch.cat([side.hidden(rows[at : at + 16]) for at in range(0, len(rows.ids), 16)])


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
    output: Output,
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
    kept = output.unfinished("learning")
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


def direction(taste: Taste, side: TextSide) -> Tensor:
    """The taste at length 1, `[D_proj]`."""
    return torch.nn.functional.normalize(taste.embedding.float().reshape(-1).to(side.device), dim=0)


@torch.no_grad()
def mean_cosine(side: TextSide, taste: Taste, hidden: Tensor, rows: Rows) -> float:
    """The mean cosine of the text features of hidden states to the taste."""
    return float((side.features(hidden, rows) @ direction(taste, side)).mean())
