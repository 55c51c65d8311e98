"""`--to lora`: a LoRA of the text encoder that moves every prompt at once as steering moves each by itself.

Two aims. *imitate*: the hidden states of so many steps towards the taste, prompt by prompt, by least squares.
*cosine*: the text feature's cosine to the taste itself, as steering has it, held near the plain states; it
ends as soon as the cosine of the steps is reached. Then the strength is chosen on other prompts so that 1.0
equals the steps named, and a third part of the prompts judges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from visunex.generate import Taste

from .encoder import TextSide
from .kohya import Lora, safetensors_bytes
from .output import Output
from .prompt_set import PromptSet
from .training import Aims, Lesson, aims_of, batch_of, descend, direction, mean_cosine

__all__ = ["Aim", "learn", "made"]

HELD = 0.3  # weight of staying near the plain states, beside 1 for the cosine
STEPS = {"imitate": 200, "cosine": 200}
RATE = 1e-3
STRONGEST = 4.0  # times what was learnt
NARROWED = 9  # halvings of the interval in which the strength lies


@dataclass(frozen=True)
class Aim:
    """What is learnt: `objective` is imitate or cosine, `steps` those towards the taste that it equals."""

    objective: str
    steps: int
    rank: int = 4
    rate: float = RATE


def made(
    side: TextSide, taste: Taste, aim: Aim, prompts: PromptSet, output: Output, seed: int
) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and the report on it."""
    aims = aims_of(side, taste, aim.steps, prompts, output)
    lora = learn(side, taste, aim, aims, output, seed)
    strength = chosen(side, taste, aim, lora, aims.choose)
    ready = lora.times(strength)
    report = judged(side, taste, ready, aims.judge)
    metadata = {
        "ss_output_name": output.path.stem,
        "ss_sd_model_name": side.name,
        "ss_seed": str(seed),
        "modelspec.title": output.path.stem,
        "ss_training_comment": f"visunex-export of {taste.name}: {aim.objective}, {aim.steps} steps",
    }
    said = {"strength_put_in": round(strength, 4), **report, "said": sentences(aim, report)}
    return safetensors_bytes(ready, metadata), said


def learn(side: TextSide, taste: Taste, aim: Aim, aims: Aims, output: Output, seed: int) -> Lora:
    """A LoRA that is learnt, at the strength at which it was."""
    lora = Lora.fresh(side.encoder, aim.rank, seed)
    loss_of = (_imitation if aim.objective == "imitate" else _cosine)(side, taste, lora, aims.train, seed)
    steps = STEPS[aim.objective]
    wanted = mean_cosine(side, taste, aims.choose.steered, aims.choose.rows)

    def enough(step: int) -> bool:
        if aim.objective == "imitate" or step == 0 or step % 10:
            return False
        return mean_cosine(side, taste, states(side, lora, aims.choose), aims.choose.rows) >= wanted

    descend(
        lora.parameters,
        loss_of,
        steps=steps,
        lr=aim.rate,
        output=output,
        enough=enough,
        what="Learning a LoRA",
    )
    return lora


def _imitation(
    side: TextSide, _taste: Taste, lora: Lora, lesson: Lesson, seed: int
) -> Callable[[int], Tensor]:
    """Mean squared error of the hidden states, in shares of how far steering moves them."""
    unit = lesson.moved

    def loss_of(step: int) -> Tensor:
        places = batch_of(step, len(lesson.texts), seed)
        with lora.on(side.encoder):
            hidden = side.hidden(lesson.rows[places])
        return (hidden - lesson.steered[places]).square().mean() / unit

    return loss_of


def _cosine(side: TextSide, taste: Taste, lora: Lora, lesson: Lesson, seed: int) -> Callable[[int], Tensor]:
    """The cosine itself, and how far the states are from the plain ones, in shares of steering's way."""
    unit = lesson.moved
    target = direction(taste, side)

    def loss_of(step: int) -> Tensor:
        places = batch_of(step, len(lesson.texts), seed)
        rows = lesson.rows[places]
        with lora.on(side.encoder):
            hidden = side.hidden(rows)
        away = (hidden - lesson.plain[places]).square().mean() / unit
        return HELD * away - (side.features(hidden, rows) @ target).mean()

    return loss_of


@torch.no_grad()
def states(side: TextSide, lora: Lora, lesson: Lesson, strength: float = 1.0) -> Tensor:
    """The hidden states `[N, L, D]` of a lesson's prompts with a LoRA at such a strength."""
    with lora.on(side.encoder, strength):
        parts = [side.hidden(lesson.rows[at : at + 16]) for at in range(0, len(lesson.texts), 16)]
    return torch.cat(parts)


def chosen(side: TextSide, taste: Taste, aim: Aim, lora: Lora, lesson: Lesson) -> float:
    """The strength at which a LoRA equals the steps: by the least error, or by the same cosine."""
    if aim.objective == "imitate":
        return _least(lambda strength: error(states(side, lora, lesson, strength), lesson))
    wanted = mean_cosine(side, taste, lesson.steered, lesson.rows)
    low, high = 0.0, STRONGEST
    for _ in range(NARROWED):
        middle = (low + high) / 2
        reached = mean_cosine(side, taste, states(side, lora, lesson, middle), lesson.rows)
        low, high = (middle, high) if reached < wanted else (low, middle)
    return (low + high) / 2


def _least(error_at: Callable[[float], float]) -> float:
    """Where an error with one valley is least, by the golden section (Kiefer 1953)."""
    golden = (5**0.5 - 1) / 2
    low, high = 0.0, STRONGEST / 2
    first, second = high - golden * (high - low), low + golden * (high - low)
    at_first, at_second = error_at(first), error_at(second)
    for _ in range(NARROWED):
        if at_first < at_second:
            high, second, at_second = second, first, at_first
            first = high - golden * (high - low)
            at_first = error_at(first)
        else:
            low, first, at_first = first, second, at_second
            second = low + golden * (high - low)
            at_second = error_at(second)
    return (low + high) / 2


def error(hidden: Tensor, lesson: Lesson) -> float:
    """The squared error to the steered states, in shares of steering's own way: 0 equal, 1 as plain."""
    return float((hidden - lesson.steered).square().mean()) / lesson.moved


def judged(side: TextSide, taste: Taste, lora: Lora, lesson: Lesson) -> dict[str, Any]:
    """How near a LoRA comes to the steps on prompts that it has not seen."""
    hidden = states(side, lora, lesson)
    features, aimed = (side.features(each, lesson.rows) for each in (hidden, lesson.steered))
    return {
        "prompts": len(lesson.texts),
        "cosine_plain": mean_cosine(side, taste, lesson.plain, lesson.rows),
        "cosine_steered": mean_cosine(side, taste, lesson.steered, lesson.rows),
        "cosine": mean_cosine(side, taste, hidden, lesson.rows),
        "error": error(hidden, lesson),
        "cosine_to_steered": float((features * aimed).sum(dim=-1).mean()),
    }


def sentences(aim: Aim, report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    return [
        f"rank {aim.rank}, {aim.objective}; strength 1.0 stands for {aim.steps} steps",
        f"on {report['prompts']} prompts that it has not seen: cosine to the taste {report['cosine']:.3f}, "
        f"steered {report['cosine_steered']:.3f}, plain {report['cosine_plain']:.3f}",
        f"its hidden states leave {report['error']:.0%} of steering's way undone (mean squares); its text "
        f"features have a cosine of {report['cosine_to_steered']:.3f} to the steered ones",
    ]
