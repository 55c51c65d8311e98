"""`--to token`: textual inversion (arXiv 2208.01618) of a taste: vectors behind a prompt that act as
steering does.

They learn to make of the encoder's states, from where the text ends on, what the steps towards the taste make
of them, prompt by prompt: so the subject, which these states hold as well, survives. They grow no longer than
real tokens' vectors, and are drawn to where those lie. The prompt's own states stay as they are, since the
encoder is causal: what is missing there the states behind it make good, going further than the steps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .encoder import Rows, States, TextSide, missing_in
from .errors import ExportError
from .output import Output
from .prompt_set import PromptSet
from .training import Aims, Lesson, aims_of, batch_of, descend, judgement, report_on, sentences_on
from .vectors import plain_torch_bytes

__all__ = ["TokenAim", "learn", "made", "token_bytes"]

STEPS, RATE = 200, 2e-2
NEAR = 0.1  # weight of the cosine to the nearest real token, beside 1 for the error
NAMES = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}  # of SDXL's text encoders in files
BEYOND = 0.2  # of the steps' own way, that is gone further
LENGTH, LONGEST = 0.5, 0.95  # quantiles of real tokens' lengths: of vectors at first, and at most


@dataclass(frozen=True)
class TokenAim:
    """What is learnt: `vectors` of them, that act as `steps` steps.

    Behind the text they go `beyond` these by a share of the way; `rate` is in shares of a vector's length.
    """

    steps: int
    vectors: int = 2
    rate: float = RATE
    beyond: float = BEYOND


def made(
    sides: Sequence[TextSide], aim: TokenAim, prompts: PromptSet, output: Output, seed: int
) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and the report on it. Raises ExportError where the taste is not for all encoders."""
    _require_all(sides)
    vectors, reports = {}, {}
    for side in sides:
        aims = aims_of(side, aim.steps, prompts, output)
        vectors[side.part] = learn(side, aim, aims, output, seed)
        reports[side.part] = judged(side, vectors[side.part], aims.judge)
    name = output.path.stem
    said = [
        f"{aim.vectors} vectors, behind a prompt: 'a castle at night {name}' stands for {aim.steps} steps"
    ]
    return token_bytes(name, vectors, output.path.suffix), report_on(reports, sentences, said)


def _require_all(sides: Sequence[TextSide]) -> None:
    """Raise ExportError where a text encoder of the model is missing: programs take files of all alone."""
    if missing := missing_in(sides):
        raise ExportError(
            f"a token for {sides[0].name} needs the taste for each of its text encoders, and "
            f"{sides[0].taste.name} has none for {missing[0].part}: `visunex-data encode --also "
            f"{missing[0].space}` makes it, or take --to lora"
        )


def token_bytes(name: str, vectors: Mapping[str, Tensor], suffix: str) -> bytes:
    """The file of vectors `[n, D]` by text encoder.

    Of one encoder, web UI's pickle of tensors as `.pt`, one named tensor as `.safetensors`: the web UI and
    ComfyUI find both by the file's name; diffusers takes `name`, which is in either. Of SDXL's two, `clip_l`
    and `clip_g` in either.
    """
    held = {part: each.detach().cpu().float().contiguous() for part, each in vectors.items()}
    is_safetensors = suffix == ".safetensors"
    if len(held) > 1:
        named: dict[str, Any] = {NAMES[part]: each for part, each in held.items()}
    else:
        (only,) = held.values()
        named = {name: only} if is_safetensors else _web_uis(name, only)
    return safetensors_bytes(named) if is_safetensors else plain_torch_bytes(named)


def safetensors_bytes(named: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file."""
    from safetensors.torch import save

    return save(dict(named), {"format": "pt"})


def _web_uis(name: str, vectors: Tensor) -> dict[str, Any]:
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors},
        "name": name,
        "step": 0,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


def learn(side: TextSide, aim: TokenAim, aims: Aims, output: Output, seed: int) -> Tensor:
    """The vectors `[n, D]`."""
    table = real_rows(side)
    length, longest = table.norm(dim=1).quantile(torch.tensor([LENGTH, LONGEST], device=table.device))
    vectors = _start(table, aim.vectors, length, seed)
    lesson = aims.train.beyond(aim.beyond)

    def shortened() -> None:
        with torch.no_grad():
            lengths = vectors.norm(dim=1, keepdim=True)
            vectors.mul_(lengths.clamp(max=longest) / lengths)

    descend(
        {"vectors": vectors},
        _error(side, vectors, normalize(table, dim=1), lesson, seed),
        steps=STEPS,
        lr=float(aim.rate * length),
        kept=output.unfinished("learning", side.part),
        after=shortened,
        what="Learning a token",
    )
    return vectors.detach()


def real_rows(side: TextSide) -> Tensor:
    """The table's rows of tokens that are letters and end a word, `[V', D]`; all where there are few."""
    tokens = side.tokenizer.get_vocab()
    words = [place for token, place in tokens.items() if token.endswith("</w>") and token[:-4].isalpha()]
    places = sorted(place for place in words if place < len(side.table))
    return side.table[torch.tensor(places, device=side.device)].float() if places else side.table.float()


def behind(side: TextSide, texts: tuple[str, ...], count: int) -> Rows:
    """The rows of texts with `count` tokens behind each, whose vectors are to be replaced."""
    filler = side.words("a")[:1] or [0]
    return side.rows([side.words(text) for text in texts], filler * count)


@torch.no_grad()
def _start(table: Tensor, count: int, length: Tensor, seed: int) -> Tensor:
    """Vectors to begin from: real tokens, drawn by `seed`, at that length."""
    drawn = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))[:count].to(table.device)
    found = table[drawn].clone()
    return (found * (length / found.norm(dim=1, keepdim=True))).requires_grad_()


def _error(
    side: TextSide, vectors: Tensor, units: Tensor, lesson: Lesson, seed: int
) -> Callable[[int], Tensor]:
    """The squared error of the states from the end of the text on, and how far from real tokens."""
    rows = behind(side, lesson.texts, len(vectors))
    if int((rows.ends + 1).max()) >= side.length:
        raise ExportError("some prompts fill the text encoder: there is no room for a token; shorten them")
    aimed = side.features(lesson.steered)

    def loss_of(step: int) -> Tensor:
        places = batch_of(step, len(lesson.texts), seed)
        with side.replaced(rows[places], vectors):
            found = side.states(rows[places])
        wanted, ends = lesson.steered.hidden[places], rows.ends[places]
        away = _behind_error(found.hidden, wanted, ends)
        way = _behind_error(lesson.plain.hidden[places], wanted, ends)
        features = side.features(found)
        unlike = 1 - (features * aimed[places]).sum(dim=-1).mean()
        far = 1 - (normalize(vectors, dim=1) @ units.T).amax(dim=1).mean()
        return away / way + unlike + NEAR * far

    return loss_of


def _behind_error(hidden: Tensor, wanted: Tensor, ends: Tensor) -> Tensor:
    """The mean squared difference of the states from each text's end on."""
    after = torch.arange(hidden.shape[1], device=hidden.device)[None] >= ends[:, None]
    squares = (hidden - wanted).square().mean(dim=-1)
    return squares[after].mean()


@torch.no_grad()
def states(side: TextSide, vectors: Tensor, texts: tuple[str, ...]) -> tuple[States, Rows]:
    """What the encoder makes of texts with the vectors behind each, and their rows."""
    rows = behind(side, texts, len(vectors))
    parts = []
    for at in range(0, len(texts), 16):
        with side.replaced(rows[at : at + 16], vectors):
            parts.append(side.states(rows[at : at + 16]))
    return States.of(parts), rows


@torch.no_grad()
def judged(side: TextSide, vectors: Tensor, lesson: Lesson) -> dict[str, Any]:
    """How near the vectors come to the steps on prompts that they were not learnt on."""
    found, rows = states(side, vectors, lesson.texts)
    wanted = lesson.steered.hidden
    away = _behind_error(found.hidden, wanted, rows.ends)
    error = float(away / _behind_error(lesson.plain.hidden, wanted, rows.ends))
    near, names = nearest(side, vectors)
    return {
        **judgement(side, found, lesson, error),
        "nearest_tokens": names,
        "cosine_to_nearest": near,
    }


@torch.no_grad()
def nearest(side: TextSide, vectors: Tensor) -> tuple[list[float], list[str]]:
    """The cosine of each vector to the nearest token of the table, and that token."""
    cosines = normalize(vectors, dim=1) @ normalize(side.table.float(), dim=1).T
    best = cosines.max(dim=1)
    names = side.tokenizer.convert_ids_to_tokens(best.indices.tolist())
    return [round(value, 4) for value in best.values.tolist()], [str(name) for name in names]


def sentences(report: Mapping[str, Any]) -> list[str]:
    """The report on one text encoder, for a person."""
    near = ", ".join(
        f"{token.removesuffix('</w>')} ({cosine:.2f})"
        for token, cosine in zip(report["nearest_tokens"], report["cosine_to_nearest"], strict=True)
    )
    return [*sentences_on(report), f"nearest tokens: {near}"]
