"""`--to token`: textual inversion (arXiv 2208.01618) of a taste: vectors behind a prompt that act as
steering does.

They learn to make of the encoder's states, from where the text ends on, what the steps towards the taste make
of them, prompt by prompt: so the subject, which these states hold as well, survives. They keep the length of
real tokens' vectors, and are drawn to where those lie. The prompt's own states stay as they are: the encoder
is causal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .encoder import Rows, States, TextSide, only
from .errors import ExportError
from .output import Output
from .prompt_set import PromptSet
from .training import Aims, Lesson, aims_of, batch_of, descend
from .vectors import plain_torch_bytes

__all__ = ["TokenAim", "learn", "made", "token_bytes"]

STEPS, RATE = 200, 2e-2
NEAR = 0.1  # weight of the cosine to the nearest real token, beside 1 for the error
LENGTH = 0.5  # of the table's rows those of median length say how long a vector is


@dataclass(frozen=True)
class TokenAim:
    """What is learnt: `vectors` of them, that act as `steps` steps; `rate` in shares of a vector's length."""

    steps: int
    vectors: int = 2
    rate: float = RATE


def made(
    sides: Sequence[TextSide], aim: TokenAim, prompts: PromptSet, output: Output, seed: int
) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and the report on it."""
    side = only(sides, "token")
    aims = aims_of(side, aim.steps, prompts, output)
    vectors = learn(side, aim, aims, output, seed)
    report = judged(side, vectors, aims.judge)
    near, names = nearest(side, vectors)
    report |= {"nearest_tokens": names, "cosine_to_nearest": near}
    said = {**report, "said": sentences(aim, report, output.path.stem)}
    return token_bytes(output.path.stem, vectors, output.path.suffix), said


def token_bytes(name: str, vectors: Tensor, suffix: str) -> bytes:
    """The file of vectors `[n, D]`: web UI's pickle of tensors as `.pt`, one named tensor as `.safetensors`.

    The web UI and ComfyUI find both by the file's name; diffusers takes `name`, which is in either.
    """
    held = vectors.detach().cpu().float().contiguous()
    if suffix == ".safetensors":
        from safetensors.torch import save

        return save({name: held}, {"format": "pt"})
    return plain_torch_bytes(
        {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": held},
            "name": name,
            "step": 0,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
        }
    )


def learn(side: TextSide, aim: TokenAim, aims: Aims, output: Output, seed: int) -> Tensor:
    """The vectors `[n, D]`."""
    table = real_rows(side)
    length = table.norm(dim=1).quantile(LENGTH)
    vectors = _start(table, aim.vectors, length, seed)

    def back_to_length() -> None:
        with torch.no_grad():
            vectors.mul_(length / vectors.norm(dim=1, keepdim=True))

    descend(
        {"vectors": vectors},
        _error(side, vectors, normalize(table, dim=1), aims.train, seed),
        steps=STEPS,
        lr=float(aim.rate * length),
        kept=output.unfinished("learning", side.part),
        after=back_to_length,
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
    features, aimed = side.features(found), side.features(lesson.steered)
    wanted = lesson.steered.hidden
    away = _behind_error(found.hidden, wanted, rows.ends)
    return {
        "prompts": len(lesson.texts),
        "cosine_plain": side.cosine(lesson.plain),
        "cosine_steered": side.cosine(lesson.steered),
        "cosine": side.cosine(found),
        "error": float(away / _behind_error(lesson.plain.hidden, wanted, rows.ends)),
        "cosine_to_steered": float((features * aimed).sum(dim=-1).mean()),
    }


@torch.no_grad()
def nearest(side: TextSide, vectors: Tensor) -> tuple[list[float], list[str]]:
    """The cosine of each vector to the nearest token of the table, and that token."""
    cosines = normalize(vectors, dim=1) @ normalize(side.table.float(), dim=1).T
    best = cosines.max(dim=1)
    names = side.tokenizer.convert_ids_to_tokens(best.indices.tolist())
    return [round(value, 4) for value in best.values.tolist()], [str(name) for name in names]


def sentences(aim: TokenAim, report: dict[str, Any], name: str) -> list[str]:
    """The report for a person."""
    near = ", ".join(
        f"{token.removesuffix('</w>')} ({cosine:.2f})"
        for token, cosine in zip(report["nearest_tokens"], report["cosine_to_nearest"], strict=True)
    )
    return [
        f"{aim.vectors} vectors, behind a prompt: 'a castle at night {name}' stands for {aim.steps} steps",
        f"on {report['prompts']} prompts that they have not seen: cosine to the taste "
        f"{report['cosine']:.3f}, steered {report['cosine_steered']:.3f}, plain "
        f"{report['cosine_plain']:.3f}; to the steered features {report['cosine_to_steered']:.3f}",
        f"nearest tokens: {near}",
    ]
