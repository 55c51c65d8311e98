"""The prompts that a LoRA, a token or words are made on and judged by: shipped ones, or a file of one's own.

The shipped ones, `prompts.txt`, are of our own writing: short, of all kinds of subject, without a style, so
that what is learnt from them is the taste and no subject of theirs.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from visunex.base.text import lines_of

from .errors import ExportError

__all__ = ["PromptSet", "load"]

SHIPPED = Path(__file__).with_name("prompts.txt")
LEAST, MOST = 8, 10_000
LARGEST = 8 << 20  # bytes of a file of prompts
TRAINED, CHOSEN, JUDGED = 96, 16, 32  # at most


@dataclass(frozen=True)
class PromptSet:
    """Prompts by what they serve: to learn from, to choose the strength by, to judge what came out."""

    train: tuple[str, ...]
    choose: tuple[str, ...]
    judge: tuple[str, ...]


def load(path: Path | None, seed: int) -> PromptSet:
    """The prompts of a file, one a line (without one, the shipped ones), in an order drawn by `seed`.

    Raises ExportError for a file that cannot be read, or has too few.
    """
    return split(read(SHIPPED if path is None else path), seed)


def read(path: Path) -> list[str]:
    """The different lines of a file that are not empty; those that begin with # are remarks."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise ExportError(f"{path} is larger than {LARGEST >> 20} MB: prompts are a line each")
    lines = (line.strip() for line in lines_of(data.decode(errors="replace")))
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))[:MOST]


def split(prompts: list[str], seed: int) -> PromptSet:
    """Prompts in three parts, which have none in common, in an order drawn by `seed`.

    Raises ExportError for fewer than LEAST.
    """
    if len(prompts) < LEAST:
        raise ExportError(
            f"there are {len(prompts)} different prompts, {LEAST} are the least: some serve to learn from, "
            "some to choose the strength by, some to judge"
        )
    drawn = random.Random(seed).sample(prompts, len(prompts))  # noqa: S311
    choose = min(CHOSEN, len(drawn) // 4)
    judge = min(JUDGED, len(drawn) // 4)
    rest = drawn[choose + judge :]
    return PromptSet(tuple(rest[:TRAINED]), tuple(drawn[:choose]), tuple(drawn[choose : choose + judge]))
