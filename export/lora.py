"""`--to lora`: a LoRA of the text encoder that moves every prompt at once as steering moves each by itself.

Two aims. *imitate*: the hidden states of so many steps towards the taste, prompt by prompt, by least squares.
*cosine*: the text feature's cosine to the taste itself, as steering has it, held near the plain states; it
ends as soon as the cosine of the steps is reached. Then the strength is chosen on other prompts so that 1.0
equals the steps named, and a third part of the prompts judges. Where a model has several text encoders each
learns by itself, towards the taste of its own CLIP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .encoder import States, TextSide, missing_in
from .kohya import Lora, safetensors_bytes
from .output import Output
from .prompt_set import PromptSet
from .training import (
    Aims,
    Lesson,
    aims_of,
    all_states,
    batch_of,
    descend,
    judgement,
    report_on,
    sentences_on,
)

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
    sides: Sequence[TextSide], aim: Aim, prompts: PromptSet, output: Output, seed: int
) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and the report on it: on each text encoder, where there are several."""
    loras, reports = {}, {}
    for side in sides:
        aims = aims_of(side, aim.steps, prompts, output)
        lora = learn(side, aim, aims, output, seed)
        strength = chosen(side, aim, lora, aims.choose)
        loras[side.part] = lora.times(strength)
        reports[side.part] = {
            "strength_put_in": round(strength, 4),
            **judged(side, loras[side.part], aims.judge),
        }
    said = [f"rank {aim.rank}, {aim.objective}; strength 1.0 stands for {aim.steps} steps"]
    metadata = {
        "ss_output_name": output.path.stem,
        "ss_sd_model_name": sides[0].name,
        "ss_seed": str(seed),
        "modelspec.title": output.path.stem,
        "ss_training_comment": f"visunex-export of {sides[0].taste.name}: {aim.objective}, {aim.steps} steps",
    }
    report = report_on(reports, sentences_on, said, alone(sides))
    return safetensors_bytes(loras, sides[0].family, metadata), report


def learn(side: TextSide, aim: Aim, aims: Aims, output: Output, seed: int) -> Lora:
    """A LoRA that is learnt, at the strength at which it was."""
    lora = Lora.fresh(side.encoder, aim.rank, seed)
    loss_of = (_imitation if aim.objective == "imitate" else _cosine)(side, lora, aims.train, seed)
    steps = STEPS[aim.objective]
    wanted = side.cosine(aims.choose.steered)

    def enough(step: int) -> bool:
        if aim.objective == "imitate" or step == 0 or step % 10:
            return False
        return side.cosine(states(side, lora, aims.choose)) >= wanted

    descend(
        lora.parameters,
        loss_of,
        steps=steps,
        lr=aim.rate,
        kept=output.unfinished("learning", side.part),
        enough=enough,
        what="Learning a LoRA",
    )
    return lora


def _imitation(side: TextSide, lora: Lora, lesson: Lesson, seed: int) -> Callable[[int], Tensor]:
    """The squared error to the steered states, in shares of how far steering moves them."""

    def loss_of(step: int) -> Tensor:
        places = batch_of(step, len(lesson.texts), seed)
        with lora.on(side.encoder):
            found = side.states(lesson.rows[places])
        return lesson.error(found, places)

    return loss_of


def _cosine(side: TextSide, lora: Lora, lesson: Lesson, seed: int) -> Callable[[int], Tensor]:
    """The cosine itself, and how far the states are from the plain ones, in shares of steering's way."""
    unit = lesson.moved[0]

    def loss_of(step: int) -> Tensor:
        places = batch_of(step, len(lesson.texts), seed)
        with lora.on(side.encoder):
            found = side.states(lesson.rows[places])
        away = (found.hidden - lesson.plain.hidden[places]).square().mean() / unit
        return HELD * away - (side.features(found) @ side.direction).mean()

    return loss_of


def states(side: TextSide, lora: Lora, lesson: Lesson, strength: float = 1.0) -> States:
    """What the encoder makes of a lesson's prompts with a LoRA at such a strength."""
    with lora.on(side.encoder, strength):
        return all_states(side, lesson.rows)


def chosen(side: TextSide, aim: Aim, lora: Lora, lesson: Lesson) -> float:
    """The strength at which a LoRA equals the steps: by the least error, or by the same cosine."""
    if aim.objective == "imitate":
        return _least(lambda strength: float(lesson.error(states(side, lora, lesson, strength))))
    wanted = side.cosine(lesson.steered)
    low, high = 0.0, STRONGEST
    for _ in range(NARROWED):
        middle = (low + high) / 2
        reached = side.cosine(states(side, lora, lesson, middle))
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


def judged(side: TextSide, lora: Lora, lesson: Lesson) -> dict[str, Any]:
    """How near a LoRA comes to the steps on prompts that it has not seen."""
    found = states(side, lora, lesson)
    return judgement(side, found, lesson, float(lesson.error(found)))


def alone(sides: Sequence[TextSide]) -> list[str]:
    """A sentence on each text encoder of the model that the taste has no vector for."""
    return [
        f"{each.part} is left as it is: `visunex-data encode --also {each.space}` makes the taste for it"
        for each in missing_in(sides)
    ]
